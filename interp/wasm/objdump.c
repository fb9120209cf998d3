#include "interp/wasm/objdump.h"

#include <inttypes.h>
#include <string.h>

#include "engine/base/check.h"
#include "interp/wasm/module.h"
#include "interp/wasm/opcodes.h"

enum { INDENT_MAX = 40, BYTES_SHOWN = 24 };

static void put_type(struct buf *out, const struct wasm_module *m, uint32_t type)
{
    char text[WASM_TYPE_TEXT_BYTES];
    buf_puts(out, wasm_type_text(m, type, text));
}

/* As an instruction names it. */
static void put_named_type(struct buf *out, const struct wasm_module *m, uint32_t type)
{
    CHECK(wasm_module_resolve(m, &type));
    buf_putc(out, ' ');
    put_type(out, m, type);
}

static void put_types(struct buf *out, const struct wasm_module *m, const uint32_t *types,
                      uint32_t count)
{
    buf_putc(out, '(');
    for (uint32_t i = 0; i < count; i++) {
        buf_puts(out, i ? " " : "");
        put_type(out, m, types[i]);
    }
    buf_putc(out, ')');
}

static void put_functype(struct buf *out, const struct wasm_module *m,
                         const struct wasm_functype *type)
{
    put_types(out, m, type->params, type->param_count);
    buf_puts(out, " -> ");
    put_types(out, m, type->results, type->result_count);
}

static void put_field(struct buf *out, const struct wasm_module *m, const struct wasm_field *field)
{
    buf_puts(out, field->mutable_ ? " mut " : " ");
    put_type(out, m, field->type);
}

static void put_def_type(struct buf *out, const struct wasm_module *m,
                         const struct wasm_def_type *type)
{
    static const char *const kinds[] = {"", "struct", "array"};
    if (!type->is_final || type->depth > 0)
        buf_puts(out, type->is_final ? "sub final " : "sub ");
    if (type->depth > 0) {
        put_type(out, m, type->display[type->depth - 1]->value_types[0]);
        buf_putc(out, ' ');
    }
    if (type->kind == WASM_DEF_FUNC) {
        put_functype(out, m, &type->func);
        return;
    }
    buf_puts(out, kinds[type->kind]);
    for (uint32_t i = 0; i < type->field_count; i++)
        put_field(out, m, &type->fields[i]);
}

static void put_limits(struct buf *out, const struct wasm_limits *limits)
{
    buf_printf(out, "%s%" PRIu64, limits->is64 ? "i64 " : "", limits->min);
    if (limits->max != UINT64_MAX)
        buf_printf(out, "..%" PRIu64, limits->max);
}

static void put_func_name(struct buf *out, const struct wasm_module *m, uint32_t index)
{
    if (m->func_names && m->func_names[index]) {
        buf_puts(out, " <");
        buf_puts(out, m->func_names[index]);
        buf_putc(out, '>');
    }
}

static void put_extern_type(struct buf *out, const struct wasm_module *m,
                            const struct wasm_extern_type *type)
{
    switch (type->kind) {
    case WASM_FUNC:
        buf_puts(out, "func ");
        put_functype(out, m, &type->func);
        break;
    case WASM_TABLE:
        buf_puts(out, "table ");
        put_type(out, m, type->type);
        buf_putc(out, ' ');
        put_limits(out, &type->limits);
        break;
    case WASM_MEMORY:
        buf_puts(out, "memory ");
        put_limits(out, &type->limits);
        break;
    case WASM_GLOBAL:
        buf_puts(out, type->mutable_ ? "global mut " : "global ");
        put_type(out, m, type->type);
        break;
    case WASM_TAG:
        buf_puts(out, "tag ");
        put_functype(out, m, &type->func);
        break;
    }
}

/* ---- instructions ------------------------------------------------------------------------ */

static void put_block_type(struct buf *out, const struct wasm_module *m,
                           const struct wasm_instr *instr)
{
    if (instr->block_type == WASM_BLOCK_VALUE)
        put_named_type(out, m, instr->block_value);
    else if (instr->block_type >= 0)
        buf_printf(out, " type %" PRId64, instr->block_type);
}

static void put_catches(struct buf *out, const struct wasm_instr *instr)
{
    static const char *const words[] = {
        [WASM_CATCH] = "catch", [WASM_CATCH_REF] = "catch_ref",
        [WASM_CATCH_ALL] = "catch_all", [WASM_CATCH_ALL_REF] = "catch_all_ref"};
    const uint8_t *at = instr->vector;
    for (uint32_t i = 0; i < instr->count; i++) {
        uint8_t kind = *at++;
        buf_printf(out, " (%s", words[kind]);
        if (kind == WASM_CATCH || kind == WASM_CATCH_REF)
            buf_printf(out, " %u", wasm_leb_u32_trusted(&at));
        buf_printf(out, " %u)", wasm_leb_u32_trusted(&at));
    }
}

static void put_memarg(struct buf *out, const struct wasm_instr *instr)
{
    if (instr->index)
        buf_printf(out, " memory %u", instr->index);
    if (instr->offset)
        buf_printf(out, " offset=%" PRIu64, instr->offset);
    if (instr->align != wasm_op_infos[instr->op].number)
        buf_printf(out, " align=%llu", 1ull << instr->align);
}

static void put_immediates(struct buf *out, const struct wasm_module *m,
                           const struct wasm_instr *instr)
{
    float f32;
    double f64;
    switch ((enum wasm_imm)wasm_op_infos[instr->op].imm) {
    case WASM_IMM_NONE:
        break;
    case WASM_IMM_BLOCK:
        put_block_type(out, m, instr);
        break;
    case WASM_IMM_TRY_TABLE:
        put_block_type(out, m, instr);
        put_catches(out, instr);
        break;
    case WASM_IMM_FUNC:
        buf_printf(out, " %u", instr->index);
        put_func_name(out, m, instr->index);
        break;
    case WASM_IMM_LABEL:
    case WASM_IMM_LOCAL:
    case WASM_IMM_GLOBAL:
    case WASM_IMM_TABLE:
    case WASM_IMM_DATA:
    case WASM_IMM_ELEM:
    case WASM_IMM_TAG:
    case WASM_IMM_TYPE:
        buf_printf(out, " %u", instr->index);
        break;
    case WASM_IMM_MEMORY:
        if (instr->index)
            buf_printf(out, " %u", instr->index);
        break;
    case WASM_IMM_BR_TABLE: {
        const uint8_t *at = instr->vector;
        for (uint32_t i = 0; i < instr->count; i++)
            buf_printf(out, " %u", wasm_leb_u32_trusted(&at));
        buf_printf(out, " else %u", instr->index);
        break;
    }
    case WASM_IMM_CALL_INDIRECT:
        buf_printf(out, " type %u table %u", instr->index, instr->index2);
        break;
    case WASM_IMM_MEMORY_INIT:
    case WASM_IMM_MEMORY_COPY:
    case WASM_IMM_TABLE_INIT:
    case WASM_IMM_TABLE_COPY:
    case WASM_IMM_FIELD:
    case WASM_IMM_TYPE_COUNT:
    case WASM_IMM_TYPE_DATA:
    case WASM_IMM_TYPE_ELEM:
    case WASM_IMM_TYPE_TYPE:
        buf_printf(out, " %u %u", instr->index, instr->index2);
        break;
    case WASM_IMM_MEMARG:
        put_memarg(out, instr);
        break;
    case WASM_IMM_MEMARG_LANE:
        put_memarg(out, instr);
        buf_printf(out, " lane %u", instr->lane);
        break;
    case WASM_IMM_LANE:
        buf_printf(out, " %u", instr->lane);
        break;
    case WASM_IMM_I32:
    case WASM_IMM_I64:
        buf_printf(out, " %" PRId64, (int64_t)instr->value);
        break;
    case WASM_IMM_F32: {
        uint32_t bits = (uint32_t)instr->value;
        memcpy(&f32, &bits, sizeof f32);
        buf_printf(out, " %.9g ; 0x%08x", (double)f32, bits);
        break;
    }
    case WASM_IMM_F64:
        memcpy(&f64, &instr->value, sizeof f64);
        buf_printf(out, " %.17g ; 0x%016" PRIx64, f64, instr->value);
        break;
    case WASM_IMM_V128:
        buf_puts(out, " 0x");
        for (int i = 15; i >= 0; i--)
            buf_printf(out, "%02x", instr->vector[i]);
        break;
    case WASM_IMM_SHUFFLE:
        for (int i = 0; i < 16; i++)
            buf_printf(out, " %u", instr->vector[i]);
        break;
    case WASM_IMM_SELECT:
    case WASM_IMM_REF_TYPE:
        put_named_type(out, m, instr->type);
        break;
    case WASM_IMM_BR_ON_CAST:
        buf_printf(out, " %u", instr->index);
        put_named_type(out, m, instr->type);
        put_named_type(out, m, instr->type2);
        break;
    }
}

/* The module is validated, so every instruction can be read. */
static void next_instr(const uint8_t *end, struct wasm_instr *instr)
{
    const char *problem;
    const uint8_t *where;
    CHECK(wasm_instr_read(instr->next, end, instr, &problem, &where) == WASM_READ_OK);
}

static void put_const_expr(struct buf *out, const struct wasm_module *m,
                           const struct wasm_const_expr *expr)
{
    struct wasm_instr instr = {.next = expr->code};
    const char *separator = "";
    for (;;) {
        next_instr(expr->code + expr->bytes, &instr);
        if (instr.op == WASM_OP_END)
            return;
        buf_puts(out, separator);
        buf_puts(out, wasm_op_infos[instr.op].name);
        put_immediates(out, m, &instr);
        separator = "; ";
    }
}

/* ---- functions --------------------------------------------------------------------------- */

uint32_t wasm_objdump_func_count(const struct wasm_module *module)
{
    return module->func_count;
}

/* Runs of equal types as `i32*12`. */
static void put_locals(struct buf *out, const struct wasm_module *m,
                       const struct wasm_func_def *func, uint32_t first)
{
    for (uint32_t i = first, run; i < func->local_count; i += run) {
        for (run = 1; i + run < func->local_count; run++)
            if (func->local_types[i + run] != func->local_types[i])
                break;
        buf_putc(out, ' ');
        put_type(out, m, func->local_types[i]);
        if (run > 1)
            buf_printf(out, "*%u", run);
    }
}

bool wasm_objdump_func(const struct wasm_module *m, uint32_t index, struct buf *out)
{
    const struct wasm_func_def *func = &m->funcs[index];
    const struct wasm_functype *type = &m->types[func->type_index]->func;
    buf_printf(out, "func %u", index);
    put_func_name(out, m, index);
    buf_printf(out, " type %u ", func->type_index);
    put_functype(out, m, type);
    if (!func->body)
        return buf_puts(out, " imported\n");
    buf_putc(out, '\n');
    if (func->local_count > type->param_count) {
        buf_puts(out, "          locals");
        put_locals(out, m, func, type->param_count);
        buf_putc(out, '\n');
    }
    const uint8_t *end = func->body + func->body_bytes;
    struct wasm_instr instr = {.next = func->body};
    unsigned depth = 1;
    while (instr.next != end && !out->failed) {
        size_t offset = func->body_offset + (size_t)(instr.next - func->body);
        next_instr(end, &instr);
        if (instr.op == WASM_OP_END || instr.op == WASM_OP_ELSE)
            depth--;
        int indent = 2 * (int)(depth < INDENT_MAX ? depth : INDENT_MAX);
        buf_printf(out, "%08zx: %*s%s", offset, indent, "", wasm_op_infos[instr.op].name);
        put_immediates(out, m, &instr);
        buf_putc(out, '\n');
        if (instr.op == WASM_OP_ELSE || instr.op == WASM_OP_BLOCK || instr.op == WASM_OP_LOOP ||
            instr.op == WASM_OP_IF || instr.op == WASM_OP_TRY_TABLE)
            depth++;
    }
    return !out->failed;
}

/* ---- sections ---------------------------------------------------------------------------- */

static void put_imports(struct buf *out, const struct wasm_module *m)
{
    uint32_t index[5] = {0};
    for (uint32_t i = 0; i < m->import_count && !out->failed; i++) {
        const struct wasm_import *import = &m->imports[i];
        buf_printf(out, "import %u ", index[import->type.kind]++);
        buf_put_json(out, import->module, import->module_bytes);
        buf_putc(out, ' ');
        buf_put_json(out, import->name, import->name_bytes);
        buf_putc(out, ' ');
        put_extern_type(out, m, &import->type);
        buf_putc(out, '\n');
    }
}

static void put_definitions(struct buf *out, const struct wasm_module *m)
{
    for (uint32_t i = m->table_import_count; i < m->table_count && !out->failed; i++) {
        buf_printf(out, "table %u ", i);
        put_type(out, m, m->tables[i].type);
        buf_putc(out, ' ');
        put_limits(out, &m->tables[i].limits);
        if (m->tables[i].has_init) {
            buf_puts(out, " = ");
            put_const_expr(out, m, &m->tables[i].init);
        }
        buf_putc(out, '\n');
    }
    for (uint32_t i = m->memory_import_count; i < m->memory_count; i++) {
        buf_printf(out, "memory %u ", i);
        put_limits(out, &m->memories[i].limits);
        buf_putc(out, '\n');
    }
    for (uint32_t i = m->tag_import_count; i < m->tag_count && !out->failed; i++) {
        buf_printf(out, "tag %u ", i);
        put_functype(out, m, &m->types[m->tags[i].type_index]->func);
        buf_putc(out, '\n');
    }
    for (uint32_t i = m->global_import_count; i < m->global_count && !out->failed; i++) {
        const struct wasm_global_def *global = &m->globals[i];
        buf_printf(out, "global %u %s", i, global->mutable_ ? "mut " : "");
        put_type(out, m, global->type);
        buf_puts(out, " = ");
        put_const_expr(out, m, &global->init);
        buf_putc(out, '\n');
    }
}

static void put_exports(struct buf *out, const struct wasm_module *m)
{
    for (uint32_t i = 0; i < m->export_count && !out->failed; i++) {
        const struct wasm_export *export = &m->exports[i];
        buf_puts(out, "export ");
        buf_put_json(out, export->name, export->name_bytes);
        buf_printf(out, " = %u ", export->index);
        put_extern_type(out, m, &export->type);
        buf_putc(out, '\n');
    }
    if (m->has_start) {
        buf_printf(out, "start %u", m->start);
        put_func_name(out, m, m->start);
        buf_putc(out, '\n');
    }
}

static void put_segment_head(struct buf *out, const struct wasm_module *m,
                             enum wasm_segment_mode mode, const char *what, uint32_t index,
                             const struct wasm_const_expr *offset)
{
    if (mode == WASM_ACTIVE) {
        buf_printf(out, " %s %u at ", what, index);
        put_const_expr(out, m, offset);
    } else {
        buf_puts(out, mode == WASM_PASSIVE ? " passive" : " declared");
    }
}

static void put_segments(struct buf *out, const struct wasm_module *m)
{
    for (uint32_t i = 0; i < m->elem_count && !out->failed; i++) {
        const struct wasm_elem_def *elem = &m->elems[i];
        buf_printf(out, "elem %u ", i);
        put_type(out, m, elem->type);
        buf_printf(out, "[%u]", elem->count);
        put_segment_head(out, m, elem->mode, "table", elem->table, &elem->offset);
        buf_putc(out, ':');
        for (uint32_t k = 0; k < elem->count && !out->failed; k++) {
            if (elem->exprs) {
                buf_puts(out, " (");
                put_const_expr(out, m, &elem->exprs[k]);
                buf_putc(out, ')');
            } else {
                buf_printf(out, " %u", elem->funcs[k]);
            }
        }
        buf_putc(out, '\n');
    }
    for (uint32_t i = 0; i < m->data_count && !out->failed; i++) {
        const struct wasm_data_def *data = &m->datas[i];
        buf_printf(out, "data %u %u bytes", i, data->bytes);
        put_segment_head(out, m, data->mode, "memory", data->memory, &data->offset);
        buf_puts(out, ": ");
        for (uint32_t k = 0; k < data->bytes && k < BYTES_SHOWN; k++) {
            uint8_t byte = data->data[k];
            if (byte >= ' ' && byte < 0x7F && byte != '\\')
                buf_putc(out, (char)byte);
            else
                buf_printf(out, "\\%02x", byte);
        }
        buf_puts(out, data->bytes > BYTES_SHOWN ? "...\n" : "\n");
    }
}

bool wasm_objdump_sections(const struct wasm_module *m, struct buf *out)
{
    for (uint32_t i = 0; i < m->type_count && !out->failed; i++) {
        buf_printf(out, "type %u ", i);
        put_def_type(out, m, m->types[i]);
        buf_putc(out, '\n');
    }
    put_imports(out, m);
    put_definitions(out, m);
    put_exports(out, m);
    put_segments(out, m);
    for (uint32_t i = 0; i < m->custom_count && !out->failed; i++) {
        buf_puts(out, "custom ");
        buf_put_json(out, m->customs[i].name, m->customs[i].name_bytes);
        buf_printf(out, " %zu bytes\n", m->customs[i].bytes);
    }
    return !out->failed;
}
