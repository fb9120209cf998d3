/* links: engine/base
 * Control groups as the kernel shows them, in both versions, in folders of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/cgroup.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"

static char root[64];

static void put(const char *folder, const char *name, const char *text)
{
    struct report report = {0};
    char path[400];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    assert_int_equal(file_make_dirs(path, &report), ERR_OK);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &report), ERR_OK);
}

static struct cgroup_limits look(const char *self)
{
    struct cgroup_limits limits;
    char path[100];
    put("", "self", self);
    snprintf(path, sizeof path, "%s/self", root);
    cgroup_limits_read(path, root, &limits);
    return limits;
}

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/test_cgroup-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static void nothing_is_no_limit(void **state)
{
    (void)state;
    struct cgroup_limits limits = look("0::/nowhere/at/all\n");
    assert_true(limits.cpus == 0);
    assert_true(limits.memory_max == UINT64_MAX && limits.memory_left == UINT64_MAX);
    limits = look("not a line\n::\n0:x\n");
    assert_true(limits.memory_max == UINT64_MAX);
    cgroup_limits_read("/does/not/exist", root, &limits);
    assert_true(limits.memory_max == UINT64_MAX && limits.cpus == 0);
}

static void tightest_group_wins(void **state)
{
    (void)state;
    put("a", "memory.max", "1000000\n");
    put("a", "memory.current", "400000\n");
    put("a", "memory.stat", "anon 1\nactive_file 5\ninactive_file 100000\n");
    put("a", "cpu.max", "150000 100000\n");
    put("a/b", "memory.max", "2000000\n");
    put("a/b", "memory.current", "1900000\n");
    put("a/b", "cpu.max", "max 100000\n");
    struct cgroup_limits limits = look("0::/a/b\n");
    assert_int_equal(limits.memory_max, 1000000);
    assert_int_equal(limits.memory_left, 100000);
    assert_true(limits.cpus == 1.5);
    put("a/b", "memory.current", "2500000\n"); /* over its limit: nothing left */
    assert_int_equal(look("0::/a/b\n").memory_left, 0);
    put("a/b", "memory.max", "max\n");
    assert_int_equal(look("0::/a/b\n").memory_left, 700000);
}

static void container_sees_its_group_as_root(void **state)
{
    (void)state;
    put("", "memory.max", "5000\n");
    put("", "memory.current", "1000\n");
    assert_int_equal(look("0::/\n").memory_left, 4000);
    assert_int_equal(look("0::/../outside\n").memory_left, 4000);
    put("", "memory.max", "max\n");
}

static void first_version(void **state)
{
    (void)state;
    put("memory/x", "memory.limit_in_bytes", "3000\n");
    put("memory/x", "memory.usage_in_bytes", "1500\n");
    put("memory/x", "memory.stat", "inactive_file 1\ntotal_inactive_file 500\n");
    put("memory", "memory.limit_in_bytes", "9223372036854771712\n");
    put("cpu,cpuacct/x", "cpu.cfs_quota_us", "50000\n");
    put("cpu,cpuacct/x", "cpu.cfs_period_us", "100000\n");
    put("cpu,cpuacct", "cpu.cfs_quota_us", "-1\n");
    put("cpu,cpuacct", "cpu.cfs_period_us", "100000\n");
    struct cgroup_limits limits = look("5:cpu,cpuacct:/x\n4:memory:/x\n3:name=systemd:/\n0::/\n");
    assert_int_equal(limits.memory_max, 3000);
    assert_int_equal(limits.memory_left, 2000);
    assert_true(limits.cpus == 0.5);
}

static void hostile_numbers(void **state)
{
    (void)state;
    put("h", "memory.max", "99999999999999999999999999\n");
    put("h", "cpu.max", "-5 0\n");
    struct cgroup_limits limits = look("0::/h\n");
    assert_true(limits.memory_max == UINT64_MAX && limits.cpus == 0);
    put("h", "cpu.max", "");
    put("h", "memory.max", "x\n");
    assert_true(look("0::/h\n").memory_max == UINT64_MAX);
}

static void node_lists(void **state)
{
    (void)state;
    uint64_t mask;
    assert_int_equal(mem_node_mask("0\n", &mask), 1);
    assert_int_equal(mask, 1);
    assert_int_equal(mem_node_mask("\t0-1,3\n", &mask), 3);
    assert_int_equal(mask, 11);
    assert_int_equal(mem_node_mask("0-1,1-2", &mask), 3);
    assert_int_equal(mem_node_mask("", &mask), 0);
    assert_int_equal(mem_node_mask("5-", &mask), 0);
    assert_int_equal(mem_node_mask("63-99999999999", &mask), 1);
    assert_int_equal(mem_node_mask("7-3", &mask), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_no_limit),
        cmocka_unit_test(tightest_group_wins),
        cmocka_unit_test(container_sees_its_group_as_root),
        cmocka_unit_test(first_version),
        cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(node_lists),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
