/* SPDX-License-Identifier: Apache-2.0 */
/* SIGReg in a program of your own: is an array that lies on several ranks an isotropic Gaussian? Its
 * value and gradient, on your own communicator.
 *
 *     mpicc sigreg_example.c $(pkg-config --cflags --libs lejepa) -lm -o sigreg_example
 *     mpirun -n 3 ./sigreg_example                       prints the same bits on any number of ranks */
#include <lejepa/loss.h>

#include <math.h>
#include <mpi.h>
#include <stdio.h>

enum { WIDTH = 8, BLOCK = 32, BLOCKS = 6 }; /* 192 rows of width 8, in blocks of 32 */

/* Rows of block b: not quite Gaussian. Any numbers of your own go here. */
static void fill(int b, float *rows)
{
    for (int i = 0; i < BLOCK * WIDTH; i++)
        rows[i] = 1.5f * sinf(0.7f * (float)(b * BLOCK * WIDTH + i) + 0.1f * (float)(i % WIDTH));
}

/* Total loss with lambda 1 and one view is SIGReg alone. Collective. */
static int measure(struct lj_comm *comm, struct lj_lejepa *loss)
{
    float rows[BLOCK * WIDTH], gradient[BLOCK * WIDTH];
    struct lj_lejepa_terms terms = {0};
    lj_lejepa_begin(loss, 0);                               /* random directions of step 0 */
    for (int b = comm->rank; b < BLOCKS; b += comm->size) { /* my rows; a rank may have none */
        fill(b, rows);
        lj_lejepa_add(loss, 0, rows, BLOCK);
    }
    LJ_TRY(lj_lejepa_reduce(loss, LJ_OK, &terms)); /* one MPI_Allreduce */
    for (int b = comm->rank; b < BLOCKS; b += comm->size) {
        fill(b, rows);
        lj_lejepa_gradient(loss, 0, rows, BLOCK, gradient); /* d(SIGReg)/d(rows), for my rows */
        if (b == 0)
            printf("SIGReg %.17g of %lld rows (Gaussian rows: %.3g), gradient at the first %.9g\n",
                   terms.sigreg, (long long)terms.samples, lj_sigreg_floor('a'),
                   (double)gradient[0]);
    }
    return LJ_OK;
}

int main(int argc, char **argv)
{
    struct lj_comm *comm = NULL; /* a duplicate of the communicator you give */
    struct lj_lejepa *loss = NULL;
    struct lj_lejepa_config config = {.views = 1,
                                      .centre_views = 1,
                                      .width = WIDTH,
                                      .slices = 256,
                                      .grid = 'a',
                                      .lambda = 1,
                                      .slots = 1,
                                      .lane_rows = BLOCK};
    MPI_Comm mine = MPI_COMM_WORLD;
    MPI_Init(&argc, &argv);
    int status = lj_comm_create(&comm, &mine);
    if (status == LJ_OK)
        status = lj_lejepa_create(&loss, comm, &config, NULL);
    if (status == LJ_OK)
        status = measure(comm, loss);
    if (status != LJ_OK)
        lj_error_line(lj_error_text()); /* the same status and text on every rank; rank 0 prints */
    lj_lejepa_destroy(loss);
    lj_comm_destroy(comm);
    MPI_Finalize();
    return -status; /* 0, or the exit code */
}
