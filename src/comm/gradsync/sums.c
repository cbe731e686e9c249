/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: the sums of this node's ranks become those that the node sends, by the
 * additions that the fixed tree has of their lanes. They go on unit by unit, to stay in the cache;
 * the sums of a unit lie on a stack, of which what is left in the end is the result. */
#include "comm/bf16.h"
#include "comm/gradsync/gradsync.h"

#include <string.h>

enum { UNIT = LJ_SHARD_ALIGN };

/* Where the sums of a unit lie. */
struct stack {
    float *result; /* the first (results) of them, `stride` apart */
    int64_t stride;
    int results;
    float *spare; /* the others */
};

static float *sum_on(const struct stack *stack, int i)
{
    return i < stack->results ? stack->result + i * stack->stride
                              : stack->spare + (int64_t)(i - stack->results) * UNIT;
}

static void add(float *left, const float *right, bool rounded)
{
    if (rounded) {
        lj_bf16_add(left, right);
        return;
    }
    for (int i = 0; i < UNIT; i++)
        left[i] += right[i];
}

/* Where a sum is added to at once, it is not copied first. */
static void sum_unit(const struct lj_gradsync *s, const float *const *input, int64_t first,
                     bool rounded, const struct stack *stack)
{
    int top = 0;
    for (int i = 0; i < s->node_sums; i++) {
        const float *x = input[i] + first;
        if (s->joins[i] == 0) {
            memcpy(sum_on(stack, top++), x, UNIT * sizeof *x);
            continue;
        }
        add(sum_on(stack, top - 1), x, rounded);
        for (int join = 1; join < s->joins[i]; join++) {
            top--;
            add(sum_on(stack, top - 1), sum_on(stack, top), rounded);
        }
    }
}

/* Each worker takes as many of the units, and has spare sums of its own. */
void lj_sum_node(const struct lj_gradsync *s, const float *const *input, int bucket, int64_t first,
                 int64_t count, float *out)
{
    const bool *rounded = lj_wire_rounded(&s->wire, first);
    int64_t units = count / UNIT;
#pragma omp parallel for schedule(static, 1) num_threads(s->workers) if (count > 1 << 16)
    for (int w = 0; w < s->workers; w++) {
        struct stack stack = {.stride = count,
                              .results = lj_node_outputs(s, s->map.mine),
                              .spare = s->spare + (int64_t)w * s->spare_sums * UNIT};
        for (int64_t u = units * w / s->workers; u < units * (w + 1) / s->workers; u++) {
            stack.result = out + u * UNIT;
            sum_unit(s, input, first - s->bounds[bucket] + u * UNIT, rounded && rounded[u], &stack);
        }
    }
}
