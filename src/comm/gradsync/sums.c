/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: the sums of this node's ranks become those that the node sends, by the
 * additions that the fixed tree has of their lanes. They go on in pieces that stay in the cache;
 * the sums of a piece lie on a stack, of which what is left in the end is the result. */
#include "comm/bf16.h"
#include "comm/gradsync/gradsync.h"

#include <string.h>

/* A piece is a unit. What the stack holds besides the result: at most one sum a level. */
enum { PIECE = LJ_SHARD_ALIGN, SPARE = 34 };

/* Where the sums of a piece lie. */
struct stack {
    float *result; /* the first (results) of them, `stride` apart */
    int64_t stride;
    int results;
    float spare[SPARE][PIECE];
};

static float *sum_on(struct stack *stack, int i)
{
    if (i < stack->results)
        return stack->result + i * stack->stride;
    LJ_CHECK(i - stack->results < SPARE, "%d sums of a node side by side", i + 1);
    return stack->spare[i - stack->results];
}

static void add(float *left, const float *right, bool rounded)
{
    if (rounded) {
        lj_bf16_add(left, right);
        return;
    }
    for (int i = 0; i < PIECE; i++)
        left[i] += right[i];
}

/* Where a sum is added to at once, it is not copied first. */
static void sum_piece(const struct lj_gradsync *s, const float *const *input, int64_t first,
                      bool rounded, struct stack *stack)
{
    int top = 0;
    for (int i = 0; i < s->node_sums; i++) {
        const float *x = input[i] + first;
        if (s->joins[i] == 0) {
            memcpy(sum_on(stack, top++), x, PIECE * sizeof *x);
            continue;
        }
        add(sum_on(stack, top - 1), x, rounded);
        for (int join = 1; join < s->joins[i]; join++) {
            top--;
            add(sum_on(stack, top - 1), sum_on(stack, top), rounded);
        }
    }
}

void lj_sum_node(const struct lj_gradsync *s, const float *const *input, int bucket, int64_t first,
                 int64_t count, float *out)
{
    const bool *rounded = lj_wire_rounded(&s->wire, first);
#pragma omp parallel for schedule(static) if (count > 1 << 16)
    for (int64_t at = 0; at < count; at += PIECE) {
        struct stack stack;
        stack.result = out + at;
        stack.stride = count;
        stack.results = lj_node_outputs(s, s->map.mine);
        sum_piece(s, input, first - s->bounds[bucket] + at, rounded && rounded[at / PIECE], &stack);
    }
}
