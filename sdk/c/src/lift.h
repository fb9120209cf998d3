/* What the parts of the C SDK share: results of host calls, and the bookkeeping of contexts. */
#ifndef INFERLET_LIFT_H
#define INFERLET_LIFT_H

#include "imports.h"
#include "inferlet.h"

/* Each takes what the host returned: an error becomes pie_error() and false; memory of the host's
 * result is freed. */
bool sdk_fail_with(struct abi_list error);
bool sdk_take_handle(struct abi_result_handle *result, uint32_t *handle);
bool sdk_take_nothing(struct abi_result_text *result);
void sdk_take_text(struct abi_list list, struct pie_buf *out);

/* Working pages for `count` more tokens. */
bool sdk_reserve_for(struct pie_context *context, size_t count);
/* Full pages are committed: from then on forks and equal contexts share them. */
bool sdk_commit_full(struct pie_context *context);
/* Waits for a pass that fed what is queued; `output` is to be freed when true. */
bool sdk_wait(struct pie_context *context, uint32_t future, struct abi_option_output *output);
void sdk_free_output(struct abi_option_output *output);

uint32_t sdk_float_bits(double value);

#endif
