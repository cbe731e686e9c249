/* SPDX-License-Identifier: Apache-2.0 */
/* SIGReg in a program of your own: is an array that lies on several ranks an isotropic Gaussian?
 * Its value and gradient, on your own communicator.
 *
 *     mpicc sigreg_example.c $(pkg-config --cflags --libs lejepa) -lm -o sigreg_example
 *     mpirun -n 3 ./sigreg_example               prints the same bits on any number of ranks */
#include <lejepa/loss.h>

#include <math.h>
#include <mpi.h>
#include <stdio.h>

enum {
    BLOCK = 32,
    BLOCKS = 6,
    WIDTH = 8,
    SLICES = 256
}; /* 192 rows; a rank has whole blocks of 32 */

int main(int argc, char **argv)
{
    static float rows[BLOCKS * BLOCK * WIDTH], gradient[BLOCKS * BLOCK * WIDTH];
    MPI_Comm mine = MPI_COMM_WORLD;
    struct lj_comm *comm = NULL; /* a duplicate of it */
    double value = 0;
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(mine, &rank);
    MPI_Comm_size(mine, &size);
    int first = BLOCKS * rank / size * BLOCK, end = BLOCKS * (rank + 1) / size * BLOCK;
    for (int i = first * WIDTH; i < end * WIDTH; i++) /* any numbers of your own go here */
        rows[i - first * WIDTH] = 1.5f * sinf(0.7f * (float)i + 0.1f * (float)(i % WIDTH));

    int status = lj_comm_create(&comm, &mine);
    if (status == LJ_OK)
        status = lj_sigreg(comm, rows, end - first, WIDTH, SLICES, 0, &value, gradient);
    if (status != LJ_OK)
        lj_error_line(lj_error_text()); /* the same on every rank; rank 0 prints */
    else if (first == 0 && end > 0)
        printf("SIGReg %.17g (Gaussian rows: %.3g), gradient at the first %.9g\n", value,
               lj_sigreg_floor(LJ_SIGREG_GRID_A), (double)gradient[0]);
    lj_comm_destroy(comm);
    MPI_Finalize();
    return -status; /* 0, or the exit code */
}
