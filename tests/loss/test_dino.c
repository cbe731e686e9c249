/* SPDX-License-Identifier: Apache-2.0 */
/* DINO over several ranks: golden values of PyTorch, central differences, the same bits for the
 * same lanes, the centre, collapse, and what is not finite. */
#include "loss/loss.h"

#include "mpi_case.h"
#include "objective_case.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS, ENTROPY, SPREAD, TERMS };

/* A global batch of cosines, cut into lanes. */
struct batch {
    int64_t views, targets, samples, width, lane_rows;
    int workers;
    const float *s, *t; /* (V, N, K), (G, N, K) */
};

static struct lj_config config;

/* Sets the settings, too. The warm-up takes four steps; the case is the second step. */
static struct lj_objective_case case_of(const struct batch *b)
{
    lj_config_defaults(&config);
    config.dino_warmup_epochs = 2;
    return (struct lj_objective_case){.kind = &lj_objective_dino,
                                      .config = &config,
                                      .views = b->views,
                                      .samples = b->samples,
                                      .width = b->width,
                                      .lane_rows = b->lane_rows,
                                      .workers = b->workers,
                                      .z = b->s,
                                      .targets = b->targets,
                                      .averaged = b->t,
                                      .epoch = 2,
                                      .advances = true};
}

static struct lj_objective_result run(struct lj_comm *comm, const struct batch *b, float *ds)
{
    const struct lj_objective_case c = case_of(b);
    return lj_objective_case_run(comm, &c, ds);
}

/* As lj_objective_case_error. */
static double gradient_error(const struct lj_comm *comm, const struct batch *b, const float *ds,
                             const double *expected)
{
    const struct lj_objective_case c = case_of(b);
    return lj_objective_case_error(comm, &c, ds, expected);
}

/* ---- golden ------------------------------------------------------------------------------ */

Test(dino, golden_values, .timeout = 60)
{
    static const char *const shapes[] = {"two", "crops", "one_target"};
    static const double tolerance[] = {1e-5, 1e-5};
    struct lj_comm *comm = lj_case_begin();
    const struct lj_objective_case c = case_of(&(struct batch){.workers = 1});
    for (int i = 0; i < 3; i++)
        lj_objective_case_golden(comm, c, "dino.h5", shapes[i], "student", "teacher", tolerance);
    lj_case_end(comm);
}

/* ---- reference in double, from the definition -------------------------------------------- */

/* log softmax(x / temperature) (width). */
static void log_softmax(const double *x, int64_t width, double temperature, double *out)
{
    double sum = 0;
    for (int64_t k = 0; k < width; k++)
        sum += exp(x[k] / temperature);
    for (int64_t k = 0; k < width; k++)
        out[k] = x[k] / temperature - log(sum);
}

/* The centre after one step from 0 (width). */
static void centre_of(const struct batch *b, const double *t, double *centre)
{
    int64_t rows = b->targets * b->samples;
    memset(centre, 0, (size_t)b->width * sizeof *centre);
    for (int64_t i = 0; i < rows * b->width; i++)
        centre[i % b->width] += 0.1 * t[i] / (double)rows;
}

/* Cross entropy of a row of targets and one of the trained network. */
static double cross_entropy(const struct batch *b, const double *t, const double *s,
                            const double *centre)
{
    double centred[64], q[64], p[64], sum = 0;
    for (int64_t k = 0; k < b->width; k++)
        centred[k] = t[k] - centre[k];
    log_softmax(centred, b->width, 0.04 + 0.25 * (0.07 - 0.04), q);
    log_softmax(s, b->width, 0.1, p);
    for (int64_t k = 0; k < b->width; k++)
        sum -= exp(q[k]) * p[k];
    return sum;
}

static double reference(const struct batch *b, const double *s, const double *t)
{
    int64_t N = b->samples, K = b->width;
    double centre[64], pairs = (double)(b->targets * (b->views - 1)), loss = 0;
    centre_of(b, t, centre);
    for (int64_t g = 0; g < b->targets; g++)
        for (int64_t v = 0; v < b->views; v++)
            for (int64_t n = 0; n < N && g != v; n++)
                loss += cross_entropy(b, t + (g * N + n) * K, s + (v * N + n) * K, centre) /
                        (pairs * (double)N);
    return loss;
}

/* Numbers as cosines are. */
static float *cosines(int64_t count)
{
    float *numbers = calloc((size_t)count, sizeof *numbers);
    lj_random_normal_f32(numbers, count, 5);
    for (int64_t i = 0; i < count; i++)
        numbers[i] = tanhf(0.3f * numbers[i]);
    return numbers;
}

/* Loss against the reference, the gradient against its central differences. */
static void compare(struct lj_comm *comm, struct batch b)
{
    int64_t count = b.views * b.samples * b.width, targets = b.targets * b.samples * b.width;
    float *numbers = cosines(count + targets), *ds = calloc((size_t)count, sizeof *ds);
    double *x = calloc((size_t)(2 * count + targets), sizeof *x), *expected = x + count + targets;
    for (int64_t i = 0; i < count + targets; i++)
        x[i] = (double)numbers[i];
    double loss = reference(&b, x, x + count);
    for (int64_t i = 0; i < count; i++) {
        double kept = x[i], step = 1e-5;
        x[i] = kept + step;
        double above = reference(&b, x, x + count);
        x[i] = kept - step;
        expected[i] = (above - reference(&b, x, x + count)) / (2 * step);
        x[i] = kept;
    }
    b.s = numbers;
    b.t = numbers + count;
    struct lj_objective_result r = run(comm, &b, ds);
    lj_all_assert(comm, r.status == LJ_OK && fabs(r.term[LOSS] - loss) < 1e-5, "%.12g not %.12g",
                  r.term[LOSS], loss);
    double error = gradient_error(comm, &b, ds, expected);
    lj_all_assert(comm, error < 1e-5, "V %lld N %lld: gradient off by %g", (long long)b.views,
                  (long long)b.samples, error);
    free(numbers);
    free(ds);
    free(x);
}

/* Sizes that cut blocks and lanes; fewer lanes than ranks; the smallest batch. */
Test(dino, agrees_with_central_differences, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    compare(comm, (struct batch){2, 2, 1, 2, 1, 1, NULL, NULL});
    compare(comm, (struct batch){3, 2, 11, 4, 4, 2, NULL, NULL});
    compare(comm, (struct batch){4, 4, 9, 3, 9, 1, NULL, NULL});
    compare(comm, (struct batch){2, 1, 35, 17, 35, 3, NULL, NULL});
    lj_case_end(comm);
}

/* ---- properties -------------------------------------------------------------------------- */

/* All on one rank, or spread, in one worker or three: the same bits. */
Test(dino, bits_depend_on_the_lanes_only, .timeout = 60)
{
    enum { VIEWS = 3, TARGETS = 2, SAMPLES = 61, WIDTH = 37, COUNT = VIEWS * SAMPLES * WIDTH };
    struct lj_comm *comm = lj_case_begin();
    float *numbers = cosines(2 * COUNT);
    struct batch b = {VIEWS, TARGETS, SAMPLES, WIDTH, 6, 1, numbers, numbers + COUNT};
    lj_objective_case_assert_bits(comm, case_of(&b));
    free(numbers);
    lj_case_end(comm);
}

/* One allreduce of one integer a prototype, and three. */
Test(dino, bytes_of_the_message, .timeout = 60)
{
    enum { COUNT = 2 * 24 * 19 };
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective_traffic traffic[LJ_TRAFFIC_MAX];
    float *numbers = cosines(2 * COUNT), *ds = calloc(COUNT, sizeof *ds);
    struct batch b = {2, 2, 24, 19, 4, 1, numbers, numbers + COUNT};
    struct lj_objective_result r = run(comm, &b, ds);
    const struct lj_ledger_entry *e = r.ledger.entry;
    config.dino_prototypes = 19;
    int messages = lj_objective_dino.traffic(traffic, &config, NULL, comm->size);
    lj_all_assert(comm, messages == 1 && r.ledger.count == 1 && e->calls == 2, "%d messages",
                  r.ledger.count);
    lj_all_assert(comm,
                  e->bytes == 2 * 8 * (19 + 8) && traffic[0].bytes == 8 * (19 + 8) &&
                      e->predicted_bytes_per_call == 8 * (19 + 8),
                  "%lld bytes", (long long)e->bytes);
    config.dino_prototypes = 0; /* as many as the trainer makes of it */
    lj_objective_dino.traffic(traffic, &config, NULL, 1);
    lj_all_assert(comm, traffic[0].bytes == 8 * (4096 + 8), "%lld", (long long)traffic[0].bytes);
    free(numbers);
    free(ds);
    lj_case_end(comm);
}

/* One step of the objective on a lane of the whole batch, with or without an update. */
static void step(struct lj_objective *o, const struct batch *b, int64_t number, bool update,
                 double term[LJ_TERMS_MAX])
{
    struct lj_step_message message = {0};
    struct lj_loss_lane lane = {.n = b->samples, .proj = b->s, .averaged = b->t};
    lj_objective_begin(o, number);
    lj_objective_add(o, &lane);
    cr_assert_eq(lj_objective_reduce(o, LJ_OK, &message, term), LJ_OK);
    if (update)
        lj_objective_advance(o);
}

/* The centre is a running mean of the targets, moves with updates only, and can be put back. */
Test(dino, centre_follows_updates, .timeout = 60)
{
    enum { COUNT = 2 * 12 * 7, WIDTH = 7 };
    struct lj_comm *comm = lj_case_begin(), *single = NULL;
    struct lj_state_array now = {0}, array[LJ_STATE_ARRAYS_MAX];
    struct lj_objective *o = NULL;
    float *numbers = cosines(2 * COUNT), kept[WIDTH];
    struct batch b = {2, 2, 12, WIDTH, 12, 1, numbers, numbers + COUNT};
    struct lj_objective_case c = case_of(&b);
    double first[LJ_TERMS_MAX], again[LJ_TERMS_MAX], mean[WIDTH] = {0};
    lj_all_assert(comm, lj_comm_first(comm, 1, &single) == LJ_OK, "%s", lj_error_text());
    for (int i = 0; i < COUNT; i++)
        mean[i % WIDTH] += (double)b.t[i] * WIDTH / COUNT;
    if (single) {
        cr_assert_eq(lj_objective_case_create(&o, single, &c, NULL), LJ_OK);
        cr_assert_eq(lj_objective_arrays(o, array), 1);
        now = array[0];
        cr_assert(now.count == WIDTH && strcmp(now.name, "centre") == 0 && now.values[0] == 0);
        step(o, &b, 0, false, first);
        step(o, &b, 0, false, again);
        cr_assert(first[LOSS] == again[LOSS] && now.values[0] == 0, "moved without an update");
        for (int s = 0; s < 2; s++)
            step(o, &b, s, true, again);
        for (int k = 0; k < WIDTH; k++) {
            double wanted = 0.1 * mean[k] * (1 + 0.9);
            cr_assert(fabs((double)now.values[k] - wanted) < 1e-7, "%d: %g not %g", k,
                      (double)now.values[k], wanted);
        }
        memcpy(kept, now.values, sizeof kept);
        step(o, &b, 2, true, first);
        step(o, &b, 3, false, again);
        cr_assert(first[LOSS] != again[LOSS]);
        memcpy(now.values, kept, sizeof kept);
        step(o, &b, 2, true, again);
        cr_assert(memcmp(first, again, TERMS * sizeof *first) == 0, "not where it was");
        lj_objective_destroy(o);
    }
    lj_comm_destroy(single);
    free(numbers);
    lj_case_end(comm);
}

/* A batch of one point, then of random ones, then with one number that is not finite. */
Test(dino, collapse_and_nonfinite_cosines, .timeout = 60)
{
    enum { VIEWS = 2, SAMPLES = 40, WIDTH = 15, COUNT = VIEWS * SAMPLES * WIDTH };
    struct lj_comm *comm = lj_case_begin();
    float *numbers = cosines(2 * COUNT), *ds = calloc(COUNT, sizeof *ds);
    float *random = cosines(2 * COUNT);
    struct batch b = {VIEWS, VIEWS, SAMPLES, WIDTH, 8, 1, numbers, numbers + COUNT};
    for (int64_t i = 0; i < 2 * COUNT; i++)
        numbers[i] = 0.05f * (float)(i % WIDTH - 7);
    struct lj_objective_result r = run(comm, &b, ds);
    double told = lj_objective_dino.collapse(&config, r.term);
    lj_all_assert(comm, fabs(told - 1) < 1e-6 && r.term[ENTROPY] < log(WIDTH), "one point: %g",
                  told);
    memset(numbers, 0, 2 * COUNT * sizeof *numbers);
    r = run(comm, &b, ds);
    lj_all_assert(comm,
                  fabs(r.term[ENTROPY] - log(WIDTH)) < 1e-5 && r.term[SPREAD] == 0 &&
                      fabs(r.term[LOSS] - log(WIDTH)) < 1e-5,
                  "uniform targets: %g", r.term[ENTROPY]);
    memcpy(numbers, random, 2 * COUNT * sizeof *numbers);
    r = run(comm, &b, ds);
    told = lj_objective_dino.collapse(&config, r.term);
    lj_all_assert(comm, told >= 0 && told < 0.1, "spread: %g", told);
    for (int64_t i = 0; i < 2 * COUNT; i += 2 * COUNT - 1) { /* of s, then of t */
        for (int sign = -1; sign <= 1; sign++) {
            numbers[i] = sign ? (float)sign * INFINITY : NAN;
            r = run(comm, &b, ds);
            lj_all_assert(comm, r.message.nonfinite > 0, "element %lld is not told", (long long)i);
        }
        numbers[i] = random[i];
    }
    free(numbers);
    free(random);
    free(ds);
    lj_case_end(comm);
}

Test(dino, what_cannot_be_is_refused, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_objective *objective = NULL;
    static const float number;
    struct batch b = {1, 1, 8, 4, 8, 1, NULL, &number};
    struct lj_objective_case c = case_of(&b);
    int status = lj_objective_case_create(&objective, comm, &c, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG && strstr(lj_error_text(), "views of a sample"),
                  "%s", lj_error_text());
    c.views = 2;
    c.width = 1;
    status = lj_objective_case_create(&objective, comm, &c, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG && strstr(lj_error_text(), "dino.prototypes=1"),
                  "%s", lj_error_text());
    c.width = 4;
    c.averaged = NULL;
    status = lj_objective_case_create(&objective, comm, &c, NULL);
    lj_all_assert(comm, status == LJ_ERR_CONFIG && strstr(lj_error_text(), "moving average"), "%s",
                  lj_error_text());
    static const char *const wrong[] = {"dino.student_temperature=0", "dino.prototypes=-1",
                                        "dino.teacher_temperature=-0.1",
                                        "dino.centre_momentum=1.01", "dino.warmup_epochs=-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        lj_all_assert(comm, lj_config_assign(&config, wrong[i]) == LJ_ERR_CONFIG, "%s", wrong[i]);
    lj_case_end(comm);
}
