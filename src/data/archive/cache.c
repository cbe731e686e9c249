/* SPDX-License-Identifier: Apache-2.0 */
/* What a scan has found, kept in a file for the next start. It holds as long as the same settings
 * name the same files and none of these has another size or time of its last change; a file that
 * was changed just before it was looked at may change once more without another time, and is kept
 * no index of. The cache is this machine's memory as it is: another version of the program, a
 * checksum or a length that does not fit, and the files are opened as if there were none. */
#include "data/archive/archive.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <xxhash.h>

/* The coarsest time that file systems keep, and some clocks' difference. */
enum { FRESH_S = 2 };

/* The beginning of the file; stamps, parts and texts follow. */
struct head {
    char magic[16];
    int64_t bytes;     /* of the file */
    uint64_t checksum; /* of all that is behind it */
    int64_t part_bytes;
    uint64_t asked[2];
    int64_t files;
    struct lj_archive_header header;
};
static const char magic[16] = "lejepa index 1\n";

/* ---- what a scan is checked by ----------------------------------------------------------- */

static void hash_text(XXH3_state_t *state, const char *text)
{
    XXH3_128bits_update(state, text ? text : "", text ? strlen(text) + 1 : 1);
}

/* Hashes the names of the files and what else decides what a scan finds. */
static int hash_asked(const struct lj_archive_options *options, const struct lj_paths *paths,
                      uint64_t asked[2])
{
    const int64_t numbers[] = {options->axes, options->chunk_bytes_max, options->size};
    unsigned hdf5[3] = {0};
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return lj_fail(LJ_ERR_RESOURCE, "out of memory: a hash of file names");
    XXH3_128bits_reset(state);
    hash_text(state, LJ_VERSION);
    lj_hdf5_lock();
    H5get_libversion(&hdf5[0], &hdf5[1], &hdf5[2]);
    lj_hdf5_unlock();
    XXH3_128bits_update(state, hdf5, sizeof hdf5);
    hash_text(state, options->images);
    hash_text(state, options->blank);
    XXH3_128bits_update(state, numbers, sizeof numbers);
    for (int64_t i = 0; i < paths->count; i++)
        hash_text(state, lj_path(paths, i));
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    asked[0] = hash.low64;
    asked[1] = hash.high64;
    return LJ_OK;
}

static struct lj_stamp stamp_of(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return (struct lj_stamp){.bytes = -1};
    return (struct lj_stamp){about.st_size, about.st_mtim.tv_sec, about.st_mtim.tv_nsec};
}

/* Looks at this rank's share of the files. */
static struct lj_stamp *look_at_share(const struct lj_comm *comm, const struct lj_paths *paths)
{
    int64_t first, end;
    lj_files_of_rank(comm, paths->count, &first, &end);
    struct lj_stamp *share = lj_alloc_array(end - first, sizeof *share, "archive");
    for (int64_t i = first; share && i < end; i++) {
        share[i - first] = stamp_of(lj_path(paths, i));
        lj_progress();
    }
    return share;
}

/* Rank 0 receives everybody's stamps. Collective. */
static void gather_stamps(struct lj_comm *comm, struct lj_stamp *share, int64_t files,
                          struct lj_stamp *all)
{
    for (int r = 0; r < comm->size; r++) {
        int64_t first, end;
        lj_files_of_rank(&(struct lj_comm){.rank = r, .size = comm->size}, files, &first, &end);
        int64_t bytes = (end - first) * (int64_t)sizeof *all;
        if (r > 0)
            lj_pass_to_root(comm, r, all ? all + first : share, bytes);
        else if (all)
            memcpy(all, share, (size_t)bytes);
    }
}

/* Rank 0 learns of all files how they are, before one is opened. Collective. */
static int look_at_files(struct lj_comm *comm, const struct lj_paths *paths,
                         struct lj_scan_note *note)
{
    int64_t looked_s = (int64_t)time(NULL);
    struct lj_stamp *share = look_at_share(comm, paths);
    bool root = lj_comm_is_root(comm);
    if (root) {
        note->looked_s = looked_s;
        note->files = paths->count;
        note->stamp = lj_alloc_array(paths->count, sizeof *note->stamp, "archive");
    }
    bool good = share && (!root || note->stamp);
    int status = lj_agree(comm, good ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        gather_stamps(comm, share, paths->count, root ? note->stamp : NULL);
    lj_free(share);
    return status;
}

void lj_scan_note_free(struct lj_scan_note *note)
{
    if (note)
        lj_free(note->stamp);
    lj_free(note);
}

/* ---- reading ----------------------------------------------------------------------------- */

static uint64_t checksum_of(const struct head *head)
{
    const char *behind = (const char *)&head->checksum + sizeof head->checksum;
    return XXH3_64bits(behind, (size_t)(head->bytes - (behind - (const char *)head)));
}

/* The length of a file with such a head. */
static int64_t length_of(const struct head *head)
{
    const struct lj_archive_header *header = &head->header;
    return (int64_t)sizeof *head + head->files * (int64_t)sizeof(struct lj_stamp) +
           header->info.parts * (int64_t)sizeof(struct lj_part) + header->texts_bytes;
}

/* Reads a file whole. NULL: note->text says why, or is empty where there is no file. */
static struct head *read_file(const char *path, struct lj_scan_note *note)
{
    struct stat about;
    FILE *file = fopen(path, "rb");
    if (!file) {
        if (errno != ENOENT)
            snprintf(note->text, sizeof note->text, "it cannot be opened: %s", strerror(errno));
        return NULL;
    }
    struct head *head = NULL;
    bool whole = fstat(fileno(file), &about) == 0 && about.st_size >= (off_t)sizeof *head;
    if (whole)
        head = lj_alloc((size_t)about.st_size, "archive");
    whole = head && fread(head, (size_t)about.st_size, 1, file) == 1 &&
            memcmp(head->magic, magic, sizeof magic) == 0 && head->bytes == about.st_size &&
            head->checksum == checksum_of(head);
    fclose(file);
    if (whole)
        return head;
    snprintf(note->text, sizeof note->text, "it is damaged");
    lj_free(head);
    return NULL;
}

/* Does it hold for the files as they are? */
static bool holds(const struct head *head, const struct lj_paths *paths, struct lj_scan_note *note)
{
    if (head->part_bytes != (int64_t)sizeof(struct lj_part) ||
        memcmp(head->asked, note->asked, sizeof note->asked) != 0 || head->files != note->files ||
        head->bytes != length_of(head)) {
        snprintf(note->text, sizeof note->text,
                 "it is of other files, other settings or another version of the program");
        return false;
    }
    const struct lj_stamp *was = (const struct lj_stamp *)(head + 1);
    for (int64_t i = 0; i < note->files; i++)
        if (memcmp(&was[i], &note->stamp[i], sizeof *was) != 0) {
            snprintf(note->text, sizeof note->text, "%.2000s has changed since", lj_path(paths, i));
            return false;
        }
    return true;
}

static int fill(struct lj_archive *archive, const struct head *head)
{
    int64_t parts = head->header.info.parts, texts = head->header.texts_bytes;
    const char *at = (const char *)(head + 1) + head->files * (int64_t)sizeof(struct lj_stamp);
    archive->part = lj_alloc_array(parts, sizeof *archive->part, "archive");
    archive->texts = lj_alloc((size_t)texts, "archive");
    if (!archive->part || !archive->texts)
        return LJ_ERR_RESOURCE;
    archive->header = head->header;
    memcpy(archive->part, at, (size_t)parts * sizeof *archive->part);
    memcpy(archive->texts, at + parts * (int64_t)sizeof *archive->part, (size_t)texts);
    return LJ_OK;
}

/* Rank 0: fills the archive if the cache holds. */
static int recall(struct lj_archive *archive, const struct lj_archive_options *options,
                  const struct lj_paths *paths)
{
    struct lj_scan_note *note = archive->note;
    LJ_TRY(hash_asked(options, paths, note->asked));
    struct head *head = options->cache[0] ? read_file(options->cache, note) : NULL;
    int status = LJ_OK;
    if (head && holds(head, paths, note)) {
        note->recalled = true;
        status = fill(archive, head);
    }
    lj_free(head);
    return status;
}

int lj_archive_recall(struct lj_archive *archive, struct lj_comm *comm,
                      const struct lj_archive_options *options, const struct lj_paths *paths,
                      bool *recalled)
{
    int status = LJ_OK;
    bool root = lj_comm_is_root(comm);
    if (root)
        archive->note = lj_alloc(sizeof *archive->note, "archive");
    LJ_TRY(lj_agree(comm, root && !archive->note ? LJ_ERR_RESOURCE : LJ_OK));
    LJ_TRY(look_at_files(comm, paths, archive->note));
    lj_root_section_begin(comm);
    if (root)
        status = recall(archive, options, paths);
    LJ_TRY(lj_root_section_end(comm, status));
    *recalled = root && archive->note->recalled;
    lj_broadcast(comm, recalled, (int64_t)sizeof *recalled, 0);
    return LJ_OK;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* Can the files have changed since without a trace? Then note->text says why. */
static bool in_doubt(const struct lj_archive *archive, struct lj_scan_note *note)
{
    for (int64_t p = 0; p < archive->header.info.parts; p++)
        if (archive->part[p].elsewhere) {
            snprintf(note->text, sizeof note->text, "values of %.2000s lie in other files",
                     lj_part_file(archive, &archive->part[p]));
            return true;
        }
    for (int64_t i = 0; i < note->files; i++)
        if (note->stamp[i].bytes < 0 || note->stamp[i].seconds + FRESH_S > note->looked_s) {
            snprintf(note->text, sizeof note->text, "a file was changed only just before");
            return true;
        }
    return false;
}

/* The cache as it is written. Owned by the caller; NULL: LJ_ERR_RESOURCE. */
static struct head *make(const struct lj_archive *archive, const struct lj_scan_note *note)
{
    struct head shape = {.files = note->files, .header = archive->header};
    int64_t bytes = length_of(&shape), parts = archive->header.info.parts;
    struct head *head = lj_alloc((size_t)bytes, "archive");
    if (!head)
        return NULL;
    memcpy(head->magic, magic, sizeof magic);
    head->bytes = bytes;
    head->part_bytes = sizeof(struct lj_part);
    memcpy(head->asked, note->asked, sizeof head->asked);
    head->files = note->files;
    head->header = archive->header;
    lj_index_only(&head->header);
    char *at = (char *)(head + 1);
    memcpy(at, note->stamp, (size_t)note->files * sizeof *note->stamp);
    at += note->files * (int64_t)sizeof *note->stamp;
    memcpy(at, archive->part, (size_t)parts * sizeof *archive->part);
    at += parts * (int64_t)sizeof *archive->part;
    memcpy(at, archive->texts, (size_t)archive->header.texts_bytes);
    head->checksum = checksum_of(head);
    return head;
}

static int write_cache(const struct lj_archive *archive, const char *path)
{
    struct head *head = make(archive, archive->note);
    if (!head)
        return LJ_ERR_RESOURCE;
    int status = lj_file_place(path, head, (size_t)head->bytes);
    lj_free(head);
    return status;
}

void lj_archive_keep_index(struct lj_archive *archive, const char *path)
{
    struct lj_scan_note *note = archive->note;
    if (!note)
        return;
    const char *name = lj_base_name(path);
    if (note->recalled) {
        lj_say("the index of %lld file%s is from %s: none was opened for it",
               (long long)note->files, note->files == 1 ? "" : "s", name);
    } else {
        if (note->text[0])
            lj_say("%s is not used: %s; the files were indexed anew", name, note->text);
        if (in_doubt(archive, note))
            lj_say("%s is not written: %s; the next start indexes the files anew", name,
                   note->text);
        else if (write_cache(archive, path) != LJ_OK)
            lj_warn("%s is not written, the next start indexes the files anew: %s", name,
                    lj_error_text());
    }
    lj_scan_note_free(note);
    archive->note = NULL;
}
