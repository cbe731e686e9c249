/* SPDX-License-Identifier: Apache-2.0 */
/* Spectrum of the covariance of embeddings, in double.
 *
 *     mean = sum_r x_r / N      covariance = sum_r (x_r - mean)(x_r - mean)^T / N
 *     effective rank = exp(-sum_i p_i log p_i),  p_i = eigenvalue_i / trace   (Roy & Vetterli 2007)
 *     RankMe: likewise, p_i = sqrt(eigenvalue_i) / sum_j sqrt(eigenvalue_j)   (Garrido et al. 2023)
 *     participation ratio = trace^2 / sum_i eigenvalue_i^2
 *
 * The outer products of a block of centred rows are summed in double, then rounded to 64-bit
 * fixed point. The unit is that in which N times the largest variance just fits, so that no sum of
 * blocks can overflow (Cauchy-Schwarz), and the integers may be added in any order, by any rank. */
#include "eval/moments.h"

#include "kernels/kernels.h"

#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

/* Columns of a panel. The covariance is kept as tiles of two panels each, those of its lower
 * triangle, which threads share: a tile of doubles stays in the first two levels of cache. */
enum { PANEL = 64, TILE = PANEL * PANEL };

enum { CHUNK = 512 }; /* rows, or a block if that is more, between two meetings of the threads */

struct covariance {
    int64_t width, panels, tiles;
    int64_t block, chunk; /* rows; a chunk is some blocks */
    int64_t *sum;         /* (tiles, columns of panel i, columns of panel j) owned: fixed point */
    double *centred;      /* (panels, chunk, columns) owned: a chunk less its mean */
    double scale;         /* of the fixed point */
};

static int64_t columns_of(const struct covariance *c, int64_t panel)
{
    return lj_min_i64(PANEL, c->width - panel * PANEL);
}

/* Panel p of the rows of a chunk, x. */
static void centre(struct covariance *c, const float *x, int64_t rows, const double *mean,
                   int64_t p)
{
    int64_t columns = columns_of(c, p), from = p * PANEL;
    double *out = c->centred + from * c->chunk;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j++)
            out[r * columns + j] = (double)x[r * c->width + from + j] - mean[from + j];
}

/* Tile t += a^T b for each block of a chunk, a and b its panels i and j. */
static void add_tile(struct covariance *c, int64_t t, int64_t rows)
{
    int64_t i = 0; /* tiles come row by row: (0,0) (1,0) (1,1) (2,0) ... */
    while ((i + 1) * (i + 2) / 2 <= t)
        i++;
    int64_t j = t - i * (i + 1) / 2, m = columns_of(c, i), n = columns_of(c, j);
    int64_t *sum = c->sum + t * TILE;
    for (int64_t first = 0; first < rows; first += c->block) {
        double part[TILE] = {0};
        lj_kernels()->add_matmul(part, c->centred + i * PANEL * c->chunk + first * m, 1, m,
                                 c->centred + j * PANEL * c->chunk + first * n, m,
                                 lj_min_i64(c->block, rows - first), n);
        for (int64_t e = 0; e < m * n; e++)
            sum[e] += llrint(part[e] * c->scale * 0x1p32);
    }
}

static void add_rows(struct covariance *c, const struct lj_features *x, const double *mean)
{
    for (int64_t first = 0; first < x->rows; first += c->chunk) {
        int64_t rows = lj_min_i64(c->chunk, x->rows - first);
        lj_progress();
#pragma omp parallel
        {
#pragma omp for schedule(static)
            for (int64_t p = 0; p < c->panels; p++)
                centre(c, x->values + first * c->width, rows, mean, p);
#pragma omp for schedule(static)
            for (int64_t t = 0; t < c->tiles; t++)
                add_tile(c, t, rows);
        }
    }
}

/* exp(entropy) of the shares that values have in their sum, or that their roots have in theirs; 0
 * if all are 0. */
static double entropy_rank(const double *values, int64_t count, bool roots)
{
    double sum = 0.0, entropy = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += roots ? sqrt(values[i]) : values[i];
    for (int64_t i = 0; i < count; i++) {
        double share = (roots ? sqrt(values[i]) : values[i]) / sum;
        if (share > 0.0)
            entropy -= share * log(share);
    }
    return sum > 0.0 ? exp(entropy) : 0.0;
}

/* The numbers made of eigenvalues, which come in ascending order and leave in descending order.
 * Rounding may make some slightly negative: they count as 0. */
static void summarise(struct lj_spectrum *spectrum, const double *ascending, int64_t width)
{
    double squares = 0.0, largest = fmax(ascending[width - 1], 0.0);
    double smallest = fmax(ascending[0], 0.0);
    spectrum->trace = 0.0;
    for (int64_t i = 0; i < width; i++) {
        double value = fmax(ascending[width - 1 - i], 0.0), part = value / largest;
        spectrum->eigenvalues[i] = value;
        spectrum->trace += value;
        squares += part * part; /* of the largest, so that none overflows or vanishes */
    }
    double parts = spectrum->trace / largest;
    spectrum->participation = largest > 0.0 ? parts * parts / squares : 0.0;
    spectrum->effective_rank = entropy_rank(spectrum->eigenvalues, width, false);
    spectrum->rankme = entropy_rank(spectrum->eigenvalues, width, true);
    spectrum->eigenvalue_max = largest;
    spectrum->eigenvalue_min = smallest;
    bool singular =
        smallest <= (double)width * DBL_EPSILON * largest; /* rounding, not a variance */
    spectrum->condition = singular ? INFINITY : largest / smallest;
}

static int eigenvalues_of(struct lj_spectrum *spectrum, double *covariance, double *ascending,
                          int64_t width)
{
    int info = LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'N', 'L', (lapack_int)width, covariance,
                              (lapack_int)width, ascending);
    if (info != 0)
        return lj_fail(LJ_ERR_NUMERIC,
                       "eigenvalues of the %lld x %lld covariance were not found (LAPACK dsyevd: "
                       "%d); are the embeddings finite?",
                       (long long)width, (long long)width, info);
    summarise(spectrum, ascending, width);
    return LJ_OK;
}

/* The lower triangle of the covariance, (width, width). */
static void unpack(const struct covariance *c, int64_t rows, double *full)
{
    const int64_t *sum = c->sum;
    double unit = 1.0 / (c->scale * (double)rows);
    for (int64_t i = 0; i < c->panels; i++)
        for (int64_t j = 0; j <= i; j++, sum += TILE)
            for (int64_t r = 0; r < columns_of(c, i); r++)
                for (int64_t k = 0; k < columns_of(c, j); k++)
                    full[(i * PANEL + r) * c->width + j * PANEL + k] =
                        lj_from_fixed(sum[r * columns_of(c, j) + k]) * unit;
}

static void find_offdiagonal(struct lj_spectrum *spectrum, const double *full, int64_t width)
{
    spectrum->offdiagonal = 0.0;
    spectrum->offdiagonal_of[0] = 0;
    spectrum->offdiagonal_of[1] = lj_min_i64(1, width - 1);
    for (int64_t i = 0; i < width; i++)
        for (int64_t j = 0; j < i; j++)
            if (fabs(full[i * width + j]) > fabs(spectrum->offdiagonal)) {
                spectrum->offdiagonal = full[i * width + j];
                spectrum->offdiagonal_of[0] = j;
                spectrum->offdiagonal_of[1] = i;
            }
}

static int decompose(const struct covariance *c, int64_t rows, struct lj_spectrum *spectrum)
{
    double *full = lj_alloc_array(c->width * c->width, sizeof *full, "spectrum");
    double *ascending = lj_alloc_array(c->width, sizeof *ascending, "spectrum");
    int status = full && ascending ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        unpack(c, rows, full);
        find_offdiagonal(spectrum, full, c->width);
        status = eigenvalues_of(spectrum, full, ascending, c->width);
    }
    lj_free(full);
    lj_free(ascending);
    return status;
}

/* Rank 0 computes, all hear: LAPACK on another processor may round otherwise, and who stops by
 * guard.collapse must do so with all others. */
static int decompose_on_root(struct lj_comm *comm, const struct covariance *c, int64_t rows,
                             struct lj_spectrum *spectrum)
{
    double *eigenvalues = spectrum->eigenvalues;
    lj_root_section_begin(comm);
    LJ_TRY(lj_root_section_end(comm, lj_comm_is_root(comm) ? decompose(c, rows, spectrum) : LJ_OK));
    lj_broadcast(comm, spectrum, sizeof *spectrum, 0);
    spectrum->eigenvalues = eigenvalues;
    lj_broadcast(comm, eigenvalues, c->width * (int64_t)sizeof *eigenvalues, 0);
    return LJ_OK;
}

static int with_moments(struct lj_comm *comm, const struct lj_features *x,
                        const struct lj_moments *m, struct lj_spectrum *spectrum)
{
    struct covariance c = {.width = x->width,
                           .panels = (x->width + PANEL - 1) / PANEL,
                           .block = x->block,
                           .chunk = lj_max_i64(CHUNK / x->block, 1) * x->block};
    double norm = 0.0, largest = 0.0;
    for (int64_t j = 0; j < x->width; j++) {
        norm += m->mean[j] * m->mean[j];
        largest = fmax(largest, m->square[j]);
    }
    spectrum->mean_norm = sqrt(norm);
    c.scale = lj_fixed_scale(largest);
    c.tiles = c.panels * (c.panels + 1) / 2;
    c.sum = lj_alloc_array(c.tiles, TILE * sizeof *c.sum, "spectrum");
    c.centred = lj_alloc_array(c.chunk * x->width, sizeof *c.centred, "spectrum");
    int status = lj_agree(comm, c.sum && c.centred ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        add_rows(&c, x, m->mean);
        lj_sum_exact(comm, NULL, c.sum, c.tiles * TILE);
        status = decompose_on_root(comm, &c, m->rows, spectrum);
    }
    lj_free(c.sum);
    lj_free(c.centred);
    return status;
}

int lj_spectrum_of(struct lj_comm *comm, const struct lj_features *x, struct lj_spectrum *spectrum)
{
    struct lj_moments moments;
    int64_t before = lj_features_set_turns(comm, x);
    int status = lj_moments_create(&moments, comm, x);
    if (status == LJ_OK) {
        status = with_moments(comm, x, &moments, spectrum);
        lj_moments_destroy(&moments);
    }
    lj_progress_set_turns(before);
    return status;
}
