/* SPDX-License-Identifier: Apache-2.0 */
/* oneDNN 2 and 3 under one interface. Nothing else asks for oneDNN's version. */
#include "kernels/gemm/onednn_api.h"

#include <pthread.h>
#include <string.h>

static dnnl_engine_t engine;
static pthread_once_t engine_once = PTHREAD_ONCE_INIT;

static void make_engine(void)
{
    LJ_ONEDNN(dnnl_engine_create(&engine, dnnl_cpu, 0));
}

dnnl_engine_t lj_onednn_engine(void)
{
    pthread_once(&engine_once, make_engine);
    return engine;
}

static dnnl_data_type_t data_type(enum lj_type type)
{
    return type == LJ_BF16 ? dnnl_bf16 : dnnl_f32;
}

lj_layout lj_layout_matrix(int64_t rows, int64_t columns, bool transposed, enum lj_type type)
{
    dnnl_dims_t extent = {rows, columns};
    dnnl_dims_t strides = {transposed ? 1 : columns, transposed ? rows : 1};
    return lj_layout_strided(2, extent, strides, type);
}

dnnl_memory_t lj_onednn_memory(lj_layout layout)
{
    dnnl_memory_t memory;
    LJ_ONEDNN(dnnl_memory_create(&memory, layout, lj_onednn_engine(), DNNL_MEMORY_NONE));
    return memory;
}

int64_t lj_layout_bytes(lj_layout layout)
{
    return (int64_t)dnnl_memory_desc_get_size(layout);
}

bool lj_layout_equal(lj_layout one, lj_layout other)
{
    return dnnl_memory_desc_equal(one, other);
}

static bool has_name(dnnl_primitive_desc_t primitive, const char *wanted)
{
    const char *name = "";
    LJ_ONEDNN(dnnl_primitive_desc_query(primitive, dnnl_query_impl_info_str, 0, &name));
    return !wanted || strstr(name, wanted);
}

/* What lj_layout_is_panels compares. */
struct blocking {
    bool bf16; /* blocked bf16 data from its first byte on */
    dnnl_dim_t extent[2], padded[2], strides[2];
    int blocks;
    dnnl_dim_t block[DNNL_MAX_NDIMS], axis[DNNL_MAX_NDIMS];
};

static struct blocking blocking_of(lj_layout layout);

bool lj_layout_is_panels(lj_layout layout)
{
    struct blocking b = blocking_of(layout);
    return b.bf16 && b.padded[0] == lj_round_up(b.extent[0], LJ_PANEL_ROWS) &&
           b.padded[1] == lj_round_up(b.extent[1], LJ_PANEL_COLUMNS) && b.blocks == 3 &&
           b.axis[0] == 0 && b.block[0] == LJ_PANEL_ROWS / 2 && b.axis[1] == 1 &&
           b.block[1] == LJ_PANEL_COLUMNS && b.axis[2] == 0 && b.block[2] == 2 &&
           b.strides[0] == LJ_PANEL_ROWS * LJ_PANEL_COLUMNS &&
           b.strides[1] == LJ_PANEL_COLUMNS * b.padded[0];
}

#if DNNL_VERSION_MAJOR >= 3

lj_layout lj_layout_strided(int dims, const dnnl_dims_t extent, const dnnl_dims_t strides,
                            enum lj_type type)
{
    lj_layout layout;
    LJ_ONEDNN(
        dnnl_memory_desc_create_with_strides(&layout, dims, extent, data_type(type), strides));
    return layout;
}

lj_layout lj_layout_any(int dims, const dnnl_dims_t extent, enum lj_type type)
{
    lj_layout layout;
    LJ_ONEDNN(dnnl_memory_desc_create_with_tag(&layout, dims, extent, data_type(type),
                                               dnnl_format_tag_any));
    return layout;
}

lj_layout lj_layout_wanted(dnnl_primitive_desc_t primitive, dnnl_query_t what)
{
    lj_layout layout;
    LJ_ONEDNN(dnnl_memory_desc_clone(&layout, dnnl_primitive_desc_query_md(primitive, what, 0)));
    return layout;
}

void lj_layout_free(lj_layout layout)
{
    if (layout)
        LJ_ONEDNN(dnnl_memory_desc_destroy(layout));
}

static struct blocking blocking_of(lj_layout layout)
{
    struct blocking b = {0};
    int dims = 0;
    dnnl_data_type_t type = dnnl_data_type_undef;
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    dnnl_dim_t offset = 0;
    dnnl_dims_t *extent, *padded, *strides, *block, *axis;
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_ndims_s32, &dims));
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_data_type, &type));
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_format_kind, &kind));
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_submemory_offset_s64, &offset));
    b.bf16 = dims == 2 && type == dnnl_bf16 && kind == dnnl_blocked && offset == 0;
    if (!b.bf16)
        return b;
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_dims, &extent));
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_padded_dims, &padded));
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_strides, &strides));
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_inner_nblks_s32, &b.blocks));
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_inner_blks, &block));
    LJ_ONEDNN(dnnl_memory_desc_query(layout, dnnl_query_inner_idxs, &axis));
    memcpy(b.extent, *extent, sizeof b.extent);
    memcpy(b.padded, *padded, sizeof b.padded);
    memcpy(b.strides, *strides, sizeof b.strides);
    memcpy(b.block, *block, sizeof b.block);
    memcpy(b.axis, *axis, sizeof b.axis);
    return b;
}

static void append_sum(dnnl_post_ops_t operations)
{
    LJ_ONEDNN(dnnl_post_ops_append_sum(operations, 1, 0, dnnl_data_type_undef));
}

/* `first`, which is consumed, or a later implementation whose name contains `wanted`. */
static dnnl_primitive_desc_t choose(dnnl_primitive_desc_t first, const char *wanted)
{
    dnnl_primitive_desc_t chosen;
    if (has_name(first, wanted))
        return first;
    LJ_ONEDNN(dnnl_primitive_desc_clone(&chosen, first));
    while (dnnl_primitive_desc_next_impl(chosen) == dnnl_success)
        if (has_name(chosen, wanted)) {
            LJ_ONEDNN(dnnl_primitive_desc_destroy(first));
            return chosen;
        }
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    return first;
}

dnnl_primitive_desc_t lj_onednn_choose_matmul(lj_layout a, lj_layout b, lj_layout bias, lj_layout c,
                                              dnnl_primitive_attr_t attributes, const char *wanted)
{
    dnnl_primitive_desc_t first;
    LJ_ONEDNN(
        dnnl_matmul_primitive_desc_create(&first, lj_onednn_engine(), a, b, bias, c, attributes));
    return choose(first, wanted);
}

dnnl_primitive_desc_t lj_onednn_choose_convolution(enum lj_convolution_pass pass, lj_layout x,
                                                   lj_layout w, lj_layout bias, lj_layout y,
                                                   const dnnl_dims_t strides,
                                                   const dnnl_dims_t padding,
                                                   dnnl_primitive_attr_t attributes,
                                                   const char *wanted)
{
    static const dnnl_dims_t dense = {0, 0};
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    dnnl_engine_t here = lj_onednn_engine();
    dnnl_primitive_desc_t first;
    if (pass == LJ_CONVOLUTION_FORWARD)
        LJ_ONEDNN(dnnl_convolution_forward_primitive_desc_create(
            &first, here, dnnl_forward_training, direct, x, w, bias, y, strides, dense, padding,
            padding, attributes));
    else if (pass == LJ_CONVOLUTION_INPUT_GRADIENT)
        LJ_ONEDNN(dnnl_convolution_backward_data_primitive_desc_create(
            &first, here, direct, x, w, y, strides, dense, padding, padding, NULL, attributes));
    else
        LJ_ONEDNN(dnnl_convolution_backward_weights_primitive_desc_create(
            &first, here, direct, x, w, NULL, y, strides, dense, padding, padding, NULL,
            attributes));
    return choose(first, wanted);
}

#else

static lj_layout new_layout(void)
{
    lj_layout layout = lj_alloc(sizeof *layout, "matmuls");
    LJ_CHECK(layout, "%s", lj_error_text());
    return layout;
}

lj_layout lj_layout_strided(int dims, const dnnl_dims_t extent, const dnnl_dims_t strides,
                            enum lj_type type)
{
    lj_layout layout = new_layout();
    LJ_ONEDNN(dnnl_memory_desc_init_by_strides(layout, dims, extent, data_type(type), strides));
    return layout;
}

lj_layout lj_layout_any(int dims, const dnnl_dims_t extent, enum lj_type type)
{
    lj_layout layout = new_layout();
    LJ_ONEDNN(
        dnnl_memory_desc_init_by_tag(layout, dims, extent, data_type(type), dnnl_format_tag_any));
    return layout;
}

lj_layout lj_layout_wanted(dnnl_primitive_desc_t primitive, dnnl_query_t what)
{
    lj_layout layout = new_layout();
    *layout = *dnnl_primitive_desc_query_md(primitive, what, 0);
    return layout;
}

void lj_layout_free(lj_layout layout)
{
    lj_free(layout);
}

static struct blocking blocking_of(lj_layout layout)
{
    const dnnl_blocking_desc_t *blocks = &layout->format_desc.blocking;
    struct blocking b = {.bf16 = layout->ndims == 2 && layout->data_type == dnnl_bf16 &&
                                 layout->format_kind == dnnl_blocked && layout->offset0 == 0 &&
                                 layout->extra.flags == dnnl_memory_extra_flag_none};
    if (!b.bf16)
        return b;
    b.blocks = blocks->inner_nblks;
    memcpy(b.extent, layout->dims, sizeof b.extent);
    memcpy(b.padded, layout->padded_dims, sizeof b.padded);
    memcpy(b.strides, blocks->strides, sizeof b.strides);
    memcpy(b.block, blocks->inner_blks, sizeof b.block);
    memcpy(b.axis, blocks->inner_idxs, sizeof b.axis);
    return b;
}

static void append_sum(dnnl_post_ops_t operations)
{
    LJ_ONEDNN(dnnl_post_ops_append_sum(operations, 1));
}

/* The first implementation of an operation, or the first whose name contains `wanted`. */
static dnnl_primitive_desc_t choose(const_dnnl_op_desc_t operation,
                                    dnnl_primitive_attr_t attributes, const char *wanted)
{
    dnnl_primitive_desc_iterator_t list;
    LJ_ONEDNN(dnnl_primitive_desc_iterator_create(&list, operation, attributes, lj_onednn_engine(),
                                                  NULL));
    dnnl_primitive_desc_t chosen = dnnl_primitive_desc_iterator_fetch(list);
    bool found = has_name(chosen, wanted);
    while (!found && dnnl_primitive_desc_iterator_next(list) == dnnl_success) {
        dnnl_primitive_desc_t next = dnnl_primitive_desc_iterator_fetch(list);
        found = has_name(next, wanted);
        LJ_ONEDNN(dnnl_primitive_desc_destroy(found ? chosen : next));
        chosen = found ? next : chosen;
    }
    LJ_ONEDNN(dnnl_primitive_desc_iterator_destroy(list));
    return chosen;
}

dnnl_primitive_desc_t lj_onednn_choose_matmul(lj_layout a, lj_layout b, lj_layout bias, lj_layout c,
                                              dnnl_primitive_attr_t attributes, const char *wanted)
{
    dnnl_matmul_desc_t operation;
    LJ_ONEDNN(dnnl_matmul_desc_init(&operation, a, b, bias, c));
    return choose(&operation, attributes, wanted);
}

dnnl_primitive_desc_t lj_onednn_choose_convolution(enum lj_convolution_pass pass, lj_layout x,
                                                   lj_layout w, lj_layout bias, lj_layout y,
                                                   const dnnl_dims_t strides,
                                                   const dnnl_dims_t padding,
                                                   dnnl_primitive_attr_t attributes,
                                                   const char *wanted)
{
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    dnnl_convolution_desc_t operation;
    if (pass == LJ_CONVOLUTION_FORWARD)
        LJ_ONEDNN(dnnl_convolution_forward_desc_init(&operation, dnnl_forward_training, direct, x,
                                                     w, bias, y, strides, padding, padding));
    else if (pass == LJ_CONVOLUTION_INPUT_GRADIENT)
        LJ_ONEDNN(dnnl_convolution_backward_data_desc_init(&operation, direct, x, w, y, strides,
                                                           padding, padding));
    else
        LJ_ONEDNN(dnnl_convolution_backward_weights_desc_init(&operation, direct, x, w, NULL, y,
                                                              strides, padding, padding));
    return choose(&operation, attributes, wanted);
}

#endif

static void add_to_result(dnnl_primitive_attr_t attributes)
{
    dnnl_post_ops_t operations;
    LJ_ONEDNN(dnnl_post_ops_create(&operations));
    append_sum(operations);
    LJ_ONEDNN(dnnl_primitive_attr_set_post_ops(attributes, operations));
    LJ_ONEDNN(dnnl_post_ops_destroy(operations));
}

dnnl_primitive_attr_t lj_onednn_attributes(bool add)
{
    dnnl_primitive_attr_t attributes;
    LJ_ONEDNN(dnnl_primitive_attr_create(&attributes));
    LJ_ONEDNN(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user));
    if (add)
        add_to_result(attributes);
    return attributes;
}

dnnl_primitive_t lj_onednn_make_reorder(lj_layout from, lj_layout to, bool add)
{
    dnnl_primitive_desc_t chosen;
    dnnl_primitive_t reorder;
    dnnl_primitive_attr_t attributes;
    dnnl_engine_t here = lj_onednn_engine();
    LJ_ONEDNN(dnnl_primitive_attr_create(&attributes));
    if (add)
        add_to_result(attributes);
    LJ_ONEDNN(dnnl_reorder_primitive_desc_create(&chosen, from, here, to, here, attributes));
    LJ_ONEDNN(dnnl_primitive_create(&reorder, chosen));
    LJ_ONEDNN(dnnl_primitive_attr_destroy(attributes));
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    return reorder;
}
