/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the values of a dataset are stored. HDF5 reads what is not there as zeros, without an
 * error: chunks that were never written, sources of a virtual dataset that are missing, external
 * files that are too short. And a small file can claim any shape. So rank 0 asks once, before
 * memory is allocated for a dataset and before it is read:
 *
 *   compact     the header holds as many bytes as the shape needs
 *   contiguous  the values are written, and end inside the file
 *   external    each file is there and long enough
 *   chunked     all chunks are written, and their bytes can stand for as many as the shape needs
 *   virtual     each source is there, large enough and itself stored; together they fill the shape
 *
 * Values that were never written may be missing if the dataset has a fill value of its writer's. */
#include "data/archive/archive.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The most bytes that one stored byte may stand for: deflate's largest ratio; any other filter that
 * compresses, or a fill value. */
enum { DEFLATE_RATIO = 1032, OTHER_RATIO = 65536 };
/* A source may be virtual in turn, so often; and so many sources are looked at for one dataset, or
 * else a small file could keep rank 0 busy for ever. */
enum { DEPTH_MAX = 8, SOURCES_MAX = 1 << 18 };
enum { PATH_BYTES = 4096 };

/* A dataset, and what it claims. */
struct claim {
    hid_t dataset;             /* borrowed */
    hid_t plan;                /* its creation properties */
    const char *where;         /* "file:dataset", for messages */
    int depth;                 /* 0; of a source, one more than that of the virtual dataset */
    int *sources;              /* looked at so far, at any depth */
    char file[PATH_BYTES];     /* path of its file, which a link may have led to */
    int64_t file_bytes;        /* length of that file */
    bool filled;               /* it has a fill value of its own */
    int dims;                  /* number of axes */
    hsize_t dim[H5S_MAX_RANK]; /* (dims) shape */
    int64_t count;             /* values */
    int64_t bytes;             /* of the values as the file's type has them */
};

static int check_dataset(hid_t dataset, const char *where, int depth, int *sources);

/* ---- in the file ------------------------------------------------------------------------- */

static int unwritten(const struct claim *claim, const char *what)
{
    return lj_fail(LJ_ERR_DATA,
                   "%s: %s never written, and HDF5 would read zeros there; write it whole, or give "
                   "it a fill value",
                   claim->where, what);
}

static int too_large(const struct claim *claim, int64_t stored)
{
    char shape[256];
    lj_hdf5_shape_text(claim->dim, claim->dims, shape, sizeof shape);
    return lj_fail(
        LJ_ERR_DATA,
        "%s: its shape %s is %lld bytes, which the %lld bytes stored for it in %s cannot "
        "hold; the file is damaged, copy it again",
        claim->where, shape, (long long)claim->bytes, (long long)stored, claim->file);
}

/* Bounds a dataset that is partly its fill value by the length of its file. */
static int check_filled(const struct claim *claim)
{
    return claim->bytes / OTHER_RATIO <= claim->file_bytes ? LJ_OK
                                                           : too_large(claim, claim->file_bytes);
}

static int check_contiguous(const struct claim *claim)
{
    haddr_t offset = H5Dget_offset(claim->dataset);
    int64_t end = 0;
    if (offset == HADDR_UNDEF)
        return claim->filled ? check_filled(claim) : unwritten(claim, "its values were");
    if (offset > INT64_MAX || !lj_add_sizes((int64_t)offset, claim->bytes, &end) ||
        end > claim->file_bytes)
        return too_large(claim, claim->file_bytes);
    return LJ_OK;
}

/* The most that the filters of a dataset may expand a byte to. */
static int64_t largest_ratio(hid_t plan)
{
    int64_t ratio = 1;
    for (int i = 0; i < H5Pget_nfilters(plan); i++) {
        unsigned flags, config;
        size_t values = 0;
        int id = H5Pget_filter2(plan, (unsigned)i, &flags, &values, NULL, 0, NULL, &config);
        if (id == H5Z_FILTER_DEFLATE && ratio == 1)
            ratio = DEFLATE_RATIO;
        else if (id != H5Z_FILTER_SHUFFLE && id != H5Z_FILTER_FLETCHER32)
            ratio = OTHER_RATIO;
    }
    return ratio;
}

/* Chunks that the shape has. False: more than 63 bits, or chunks of no size. */
static bool count_chunks(const struct claim *claim, int64_t *chunks)
{
    hsize_t chunk[H5S_MAX_RANK], along[H5S_MAX_RANK];
    if (H5Pget_chunk(claim->plan, H5S_MAX_RANK, chunk) != claim->dims)
        return false;
    for (int i = 0; i < claim->dims; i++) {
        if (chunk[i] == 0)
            return false;
        along[i] = claim->dim[i] / chunk[i] + (claim->dim[i] % chunk[i] != 0);
    }
    return lj_hdf5_count(along, claim->dims, chunks);
}

static int check_chunked(const struct claim *claim)
{
    int64_t chunks = 0;
    hsize_t written = 0;
    hid_t space = H5Dget_space(claim->dataset);
    herr_t status = H5Dget_num_chunks(claim->dataset, space, &written);
    H5Sclose(space);
    if (status < 0 || !count_chunks(claim, &chunks))
        return lj_fail(LJ_ERR_DATA,
                       "%s: its chunks cannot be counted; the file is damaged, copy it "
                       "again",
                       claim->where);
    if ((hsize_t)chunks > written) {
        char what[80];
        snprintf(what, sizeof what, "%lld of its %lld chunks were",
                 (long long)(chunks - (int64_t)written), (long long)chunks);
        return claim->filled ? check_filled(claim) : unwritten(claim, what);
    }
    hsize_t bytes = H5Dget_storage_size(claim->dataset);
    int64_t stored = bytes < (hsize_t)claim->file_bytes ? (int64_t)bytes : claim->file_bytes;
    if (claim->bytes / largest_ratio(claim->plan) > stored)
        return too_large(claim, stored);
    return LJ_OK;
}

/* ---- external files ---------------------------------------------------------------------- */

/* The list's files hold the values one behind the other, each from its offset on. */
static int check_external(const struct claim *claim)
{
    int64_t left = claim->bytes;
    int count = H5Pget_external_count(claim->plan);
    for (int i = 0; i < count && left > 0; i++) {
        char name[PATH_BYTES] = "", path[2 * PATH_BYTES];
        off_t offset = 0;
        hsize_t size = 0;
        struct stat about;
        H5Pget_external(claim->plan, (unsigned)i, sizeof name - 1, name, &offset, &size);
        lj_external_path(claim->file, name, path, sizeof path);
        int64_t share = size < (hsize_t)left ? (int64_t)size : left, end = 0;
        if (stat(path, &about) != 0 || access(path, R_OK) != 0)
            return lj_fail(LJ_ERR_DATA,
                           "%s: its external file %s is missing; put it back, or say by "
                           "HDF5_EXTFILE_PREFIX where it is",
                           claim->where, path);
        if (offset < 0 || !lj_add_sizes(offset, share, &end) || end > about.st_size)
            return lj_fail(LJ_ERR_DATA,
                           "%s: its external file %s has %lld bytes, expected %lld from byte %lld "
                           "on; copy it again",
                           claim->where, path, (long long)about.st_size, (long long)share,
                           (long long)offset);
        left -= share;
    }
    if (left > 0)
        return lj_fail(LJ_ERR_DATA, "%s: its external files hold %lld of %lld bytes; make it again",
                       claim->where, (long long)(claim->bytes - left), (long long)claim->bytes);
    return LJ_OK;
}

/* ---- sources of a virtual dataset -------------------------------------------------------- */

/* The source looked at last; mappings often share one. */
struct source {
    char file_name[PATH_BYTES]; /* as the mapping names the file */
    char set_name[PATH_BYTES];  /* the dataset in it */
    hid_t file;                 /* -1: none is open */
    hid_t dataset;              /* -1: none is open */
    int dims;                   /* of the dataset */
    hsize_t dim[H5S_MAX_RANK];  /* (dims) */
    int64_t count;              /* values */
};

static void source_close(struct source *source)
{
    if (source->dataset >= 0)
        H5Dclose(source->dataset);
    if (source->file >= 0)
        H5Fclose(source->file);
    source->file = source->dataset = -1;
}

/* Opens a source, unless it is the one that is open, and checks that it is stored. */
static int source_open(struct source *source, const struct claim *claim, const char *file_name,
                       const char *set_name)
{
    bool same_file = source->file >= 0 && strcmp(source->file_name, file_name) == 0;
    if (same_file && source->dataset >= 0 && strcmp(source->set_name, set_name) == 0)
        return LJ_OK;
    lj_progress();
    if (++*claim->sources > SOURCES_MAX)
        return lj_fail(LJ_ERR_DATA,
                       "%s: more than %d sources are a part of it; copy it into one file",
                       claim->where, SOURCES_MAX);
    if (!same_file) {
        source_close(source);
        snprintf(source->file_name, sizeof source->file_name, "%s", file_name);
        source->file = lj_source_file_open(claim->dataset, claim->file, file_name);
    } else if (source->dataset >= 0) {
        H5Dclose(source->dataset);
    }
    source->dataset = -1;
    if (source->file < 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: the file %s, which holds a part of it, is missing or no HDF5 file; put "
                       "it back, or say by HDF5_VDS_PREFIX where it is",
                       claim->where, file_name);
    snprintf(source->set_name, sizeof source->set_name, "%s", set_name);
    source->dataset = H5Dopen2(source->file, set_name, H5P_DEFAULT);
    if (source->dataset < 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: the dataset %s, which holds a part of it, is missing in the file %s; "
                       "put it back",
                       claim->where, set_name, file_name);
    hid_t space = H5Dget_space(source->dataset);
    source->dims = H5Sget_simple_extent_dims(space, source->dim, NULL);
    H5Sclose(space);
    char where[2 * PATH_BYTES], path[PATH_BYTES];
    if (H5Fget_name(source->file, path, sizeof path) < 0)
        snprintf(path, sizeof path, "%s", file_name);
    snprintf(where, sizeof where, "%s:%s", path, set_name);
    if (!lj_hdf5_count(source->dim, source->dims, &source->count))
        source->count = 0;
    return check_dataset(source->dataset, where, claim->depth + 1, claim->sources);
}

/* ---- mappings of a virtual dataset ------------------------------------------------------- */

static const hsize_t origin[H5S_MAX_RANK];

/* The parameters of a selection whose blocks lie at regular distances. */
struct slab {
    hsize_t start[H5S_MAX_RANK], stride[H5S_MAX_RANK], count[H5S_MAX_RANK], block[H5S_MAX_RANK];
    int endless; /* the axis along which the selection grows with the dataset; -1: none */
};

static bool slab_of(struct slab *slab, hid_t space)
{
    slab->endless = -1;
    if (H5Sget_select_type(space) != H5S_SEL_HYPERSLABS || H5Sis_regular_hyperslab(space) <= 0 ||
        H5Sget_regular_hyperslab(space, slab->start, slab->stride, slab->count, slab->block) < 0)
        return false;
    for (int i = 0; i < H5Sget_simple_extent_ndims(space); i++)
        if (slab->count[i] == H5S_UNLIMITED || slab->block[i] == H5S_UNLIMITED)
            slab->endless = i;
    return true;
}

/* Blocks along the endless axis that begin inside the shape. */
static hsize_t blocks_inside(const struct slab *slab, const hsize_t *dim)
{
    int i = slab->endless;
    if (dim[i] <= slab->start[i])
        return 0;
    if (slab->block[i] == H5S_UNLIMITED)
        return 1;
    return (dim[i] - slab->start[i] - 1) / slab->stride[i] + 1;
}

/* The selection inside a shape, as a dataspace of that shape: an endless one ends with the shape.
 * Negative on failure. */
static hid_t selection_inside(hid_t selected, const hsize_t *dim, int dims)
{
    struct slab slab;
    if (H5Sget_select_type(selected) == H5S_SEL_ALL) {
        hid_t whole = H5Screate_simple(dims, dim, NULL);
        H5Sselect_hyperslab(whole, H5S_SELECT_SET, origin, NULL, dim, NULL);
        return whole;
    }
    if (H5Sget_simple_extent_ndims(selected) != dims)
        return -1;
    if (!slab_of(&slab, selected) || slab.endless < 0)
        return H5Scopy(selected);
    hid_t space = H5Screate_simple(dims, dim, NULL);
    int i = slab.endless;
    slab.count[i] = blocks_inside(&slab, dim);
    if (slab.block[i] == H5S_UNLIMITED)
        slab.block[i] = dim[i] - slab.start[i];
    if (slab.count[i] == 0)
        H5Sselect_none(space);
    else if (H5Sselect_hyperslab(space, H5S_SELECT_SET, slab.start, slab.stride, slab.count,
                                 slab.block) >= 0)
        H5Sselect_hyperslab(space, H5S_SELECT_AND, origin, NULL, dim, NULL);
    return space;
}

/* One mapping: the values of a source that are values of the virtual dataset. */
struct mapping {
    char file_name[PATH_BYTES]; /* as it is stored: %b stands for the number of a block */
    char set_name[PATH_BYTES];  /* likewise */
    hid_t target;               /* selection in the virtual dataset */
    hid_t selected;             /* selection in the source */
};

/* Does a name have a %b, of which the percent sign is not the second of a %%? */
static bool is_numbered(const char *name)
{
    while ((name = strchr(name, '%')) && name[1] && name[1] != 'b')
        name += 2;
    return name && name[1] == 'b';
}

/* Replaces %b by the number of the block and %% by %. False: it does not fit. */
static bool expand(const char *name, int64_t block, char *text, size_t capacity)
{
    size_t used = 0;
    for (; *name && used + 1 < capacity; name++) {
        if (name[0] == '%' && name[1] == 'b')
            used += (size_t)snprintf(text + used, capacity - used, "%lld", (long long)block);
        else
            text[used++] = *name;
        name += name[0] == '%' && (name[1] == 'b' || name[1] == '%');
    }
    text[used < capacity ? used : capacity - 1] = 0;
    return *name == 0 && used < capacity;
}

/* Checks the source of one block, or of a mapping without blocks, which has to give `wanted`
 * values. */
static int check_source(const struct claim *claim, const struct mapping *mapping, int64_t block,
                        hssize_t wanted, struct source *source)
{
    char file_name[PATH_BYTES], set_name[PATH_BYTES], shape[256];
    hsize_t low[H5S_MAX_RANK], high[H5S_MAX_RANK];
    if (!expand(mapping->file_name, block, file_name, sizeof file_name) ||
        !expand(mapping->set_name, block, set_name, sizeof set_name))
        return lj_fail(LJ_ERR_DATA, "%s: the name of a source is too long", claim->where);
    LJ_TRY(source_open(source, claim, file_name, set_name));
    bool all = H5Sget_select_type(mapping->selected) == H5S_SEL_ALL;
    bool good = all && source->count == wanted;
    if (!all) {
        hid_t inside = selection_inside(mapping->selected, source->dim, source->dims);
        good = inside >= 0 && H5Sget_select_npoints(inside) >= wanted &&
               H5Sget_select_bounds(inside, low, high) >= 0;
        for (int i = 0; i < source->dims && good; i++)
            good = high[i] < source->dim[i];
        if (inside >= 0)
            H5Sclose(inside);
    }
    lj_hdf5_shape_text(source->dim, source->dims, shape, sizeof shape);
    return good ? LJ_OK
                : lj_fail(LJ_ERR_DATA,
                          "%s: %s:%s has shape %s, which lacks values that are a part of it; make "
                          "the virtual dataset again",
                          claim->where, file_name, set_name, shape);
}

static int not_joined(const struct claim *claim)
{
    return lj_fail(LJ_ERR_DATA,
                   "%s: HDF5 cannot say how the parts of it are joined; make the virtual dataset "
                   "again",
                   claim->where);
}

/* Checks the sources of a mapping and adds its values to those that are covered. */
static int check_mapping(const struct claim *claim, const struct mapping *mapping,
                         struct source *source, hid_t *covered)
{
    struct slab slab;
    bool regular = slab_of(&slab, mapping->target);
    hid_t target = selection_inside(mapping->target, claim->dim, claim->dims);
    hssize_t values = target < 0 ? -1 : H5Sget_select_npoints(target);
    int status = LJ_OK;
    if (values < 0)
        return not_joined(claim);
    if (is_numbered(mapping->file_name) || is_numbered(mapping->set_name)) {
        int64_t blocks =
            regular && slab.endless >= 0 ? (int64_t)blocks_inside(&slab, claim->dim) : 0;
        if (blocks == 0 && values > 0)
            status = not_joined(claim);
        for (int64_t b = 0; b < blocks && status == LJ_OK; b++)
            status = check_source(claim, mapping, b, values / blocks, source);
    } else if (values > 0) {
        status = check_source(claim, mapping, 0, values, source);
    }
    if (status == LJ_OK && values > 0) {
        if (*covered < 0)
            *covered = H5Scopy(target);
        else if (H5Smodify_select(*covered, H5S_SELECT_OR, target) < 0)
            status = not_joined(claim);
    }
    H5Sclose(target);
    return status;
}

static int check_mapping_at(const struct claim *claim, size_t i, struct source *source,
                            hid_t *covered)
{
    struct mapping mapping;
    ssize_t file = H5Pget_virtual_filename(claim->plan, i, mapping.file_name, PATH_BYTES);
    ssize_t set = H5Pget_virtual_dsetname(claim->plan, i, mapping.set_name, PATH_BYTES);
    if (file < 0 || file >= PATH_BYTES || set < 0 || set >= PATH_BYTES)
        return lj_fail(LJ_ERR_DATA, "%s: the name of a source is too long", claim->where);
    mapping.target = H5Pget_virtual_vspace(claim->plan, i);
    mapping.selected = H5Pget_virtual_srcspace(claim->plan, i);
    int status = LJ_OK;
    if (mapping.target < 0 || mapping.selected < 0)
        status = not_joined(claim);
    else
        status = check_mapping(claim, &mapping, source, covered);
    if (mapping.target >= 0)
        H5Sclose(mapping.target);
    if (mapping.selected >= 0)
        H5Sclose(mapping.selected);
    return status;
}

static int check_virtual(const struct claim *claim)
{
    if (claim->depth == DEPTH_MAX)
        return lj_fail(LJ_ERR_DATA,
                       "%s: is virtual, of virtual datasets more than %d deep; copy it "
                       "into one file",
                       claim->where, DEPTH_MAX);
    size_t count = 0;
    struct source source = {.file = -1, .dataset = -1};
    hid_t covered = -1;
    int status = LJ_OK;
    H5Pget_virtual_count(claim->plan, &count);
    for (size_t i = 0; i < count && status == LJ_OK; i++)
        status = check_mapping_at(claim, i, &source, &covered);
    source_close(&source);
    int64_t values = 0;
    if (covered >= 0) {
        H5Sselect_hyperslab(covered, H5S_SELECT_AND, origin, NULL, claim->dim, NULL);
        values = (int64_t)H5Sget_select_npoints(covered);
        H5Sclose(covered);
    }
    LJ_TRY(status);
    if (values >= claim->count || (claim->filled && claim->count / OTHER_RATIO <= values))
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: its sources cover %lld of %lld values, and HDF5 would read the others as "
                   "zeros; map all, or give it a fill value",
                   claim->where, (long long)values, (long long)claim->count);
}

/* ---- any dataset ------------------------------------------------------------------------- */

static int check_layout(const struct claim *claim)
{
    switch (H5Pget_layout(claim->plan)) {
    case H5D_COMPACT:
        return H5Dget_storage_size(claim->dataset) >= (hsize_t)claim->bytes
                   ? LJ_OK
                   : too_large(claim, (int64_t)H5Dget_storage_size(claim->dataset));
    case H5D_CONTIGUOUS:
        return H5Pget_external_count(claim->plan) > 0 ? check_external(claim)
                                                      : check_contiguous(claim);
    case H5D_CHUNKED:
        return check_chunked(claim);
    case H5D_VIRTUAL:
        return check_virtual(claim);
    default:
        return lj_fail(LJ_ERR_DATA, "%s: is stored in a way that is not known here", claim->where);
    }
}

/* Fills what a claim says of shape and file. */
static int measure(struct claim *claim)
{
    struct stat about;
    hid_t space = H5Dget_space(claim->dataset), type = H5Dget_type(claim->dataset);
    int64_t element = (int64_t)H5Tget_size(type);
    claim->dims = H5Sget_simple_extent_dims(space, claim->dim, NULL);
    H5Tclose(type);
    H5Sclose(space);
    if (!lj_hdf5_count(claim->dim, claim->dims, &claim->count) ||
        !lj_multiply_sizes(claim->count, element, &claim->bytes)) {
        char shape[256];
        lj_hdf5_shape_text(claim->dim, claim->dims, shape, sizeof shape);
        return lj_fail(
            LJ_ERR_DATA,
            "%s: its shape %s is more than 2^63 bytes; the file is damaged, copy it again",
            claim->where, shape);
    }
    if (H5Fget_name(claim->dataset, claim->file, sizeof claim->file) < 0 ||
        stat(claim->file, &about) != 0)
        return lj_fail(LJ_ERR_DATA, "%s: its file cannot be found any more", claim->where);
    claim->file_bytes = about.st_size;
    return LJ_OK;
}

static int check_dataset(hid_t dataset, const char *where, int depth, int *sources)
{
    struct claim claim = {.dataset = dataset, .where = where, .depth = depth, .sources = sources};
    LJ_TRY(measure(&claim));
    if (claim.bytes == 0)
        return LJ_OK;
    H5D_fill_value_t fill = H5D_FILL_VALUE_ERROR;
    claim.plan = H5Dget_create_plist(dataset);
    claim.filled =
        H5Pfill_value_defined(claim.plan, &fill) >= 0 && fill == H5D_FILL_VALUE_USER_DEFINED;
    int status = check_layout(&claim);
    H5Pclose(claim.plan);
    return status;
}

int lj_storage_check(hid_t dataset, const char *where)
{
    int sources = 0;
    return check_dataset(dataset, where, 0, &sources);
}
