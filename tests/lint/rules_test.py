"""Each rule sees a text that breaks it, and one that does not."""

import unittest

import protos
import rules

HEADER = "/*\n * x.c - owns one thing and promises two about it.\n */\n"


def messages(problems):
    return " | ".join(message for _, message in problems)


class Arrows(unittest.TestCase):
    def test_a_lower_folder_may_be_included(self):
        self.assertEqual(rules.check_arrows("common/store/x.c", '#include "common/base/error.h"\n'), [])

    def test_a_higher_folder_may_not(self):
        found = rules.check_arrows("common/store/x.c", '\n#include "common/stage/stage.h"\n')
        self.assertEqual(found[0][0], 2)
        self.assertIn("arrows point down only", found[0][1])

    def test_a_service_may_not_include_another(self):
        text = '#include "services/ingest/core.h"\n'
        self.assertTrue(rules.check_arrows("services/indexer/x.c", text))
        self.assertFalse(rules.check_arrows("services/ingest/shell.c", text))

    def test_generated_messages_need_the_arrow_to_wire(self):
        text = '#include "weir/v1/document.pb-c.h"\n'
        self.assertTrue(rules.check_arrows("common/text/x.c", text))
        self.assertFalse(rules.check_arrows("common/rpc/x.c", text))

    def test_a_bare_name_and_an_unknown_folder_are_refused(self):
        self.assertIn("from the top", messages(rules.check_arrows("common/base/x.c", '#include "error.h"\n')))
        self.assertIn("no line in ARROWS", messages(rules.check_arrows("common/new/x.c", "")))


class ThirdParty(unittest.TestCase):
    def test_a_library_is_included_in_its_folder_only(self):
        self.assertTrue(rules.check_third_party("common/stage/x.c", "#include <rocksdb/c.h>\n"))
        self.assertFalse(rules.check_third_party("common/store/x.c", "#include <rocksdb/c.h>\n"))

    def test_an_unknown_library_is_refused_and_libc_is_not(self):
        self.assertTrue(rules.check_third_party("common/base/x.c", "#include <jansson/jansson.h>\n"))
        self.assertFalse(rules.check_third_party("common/base/x.c", "#include <sys/stat.h>\n#include <time.h>\n"))


class Calls(unittest.TestCase):
    def test_base_alone_allocates_and_reads_the_clock(self):
        text = "void *a = malloc(1);\ntime_t t = time(NULL);\n"
        self.assertEqual([line for line, _ in rules.check_calls("common/store/x.c", text)], [1, 2])
        self.assertEqual(rules.check_calls("common/base/x.c", text), [])

    def test_comments_strings_members_and_longer_names_are_not_calls(self):
        text = '/* free() it */ weir_free(a); x->time(1); log("rand()"); wait_time(2);\n'
        self.assertEqual(rules.check_calls("common/store/x.c", text), [])

    def test_no_message_is_unpacked_without_a_check_of_its_bytes(self):
        for text in ("weir__v1__document__unpack(NULL, n, d);\n", "protobuf_c_message_unpack(t, NULL, n, d);\n"):
            self.assertIn("checks the bytes", messages(rules.check_calls("services/gateway/x.c", text)))
            self.assertEqual(rules.check_calls("common/wire/x.c", text), [])
        self.assertEqual(rules.check_calls("common/rpc/x.c", "code = wr_message_unpack(a, b);\n"), [])

    def test_some_calls_are_refused_everywhere(self):
        self.assertTrue(rules.check_calls("common/base/x.c", "n = atoi(text);\n"))


class Architecture(unittest.TestCase):
    def check(self, text, folders=()):
        return messages(rules.check_architecture(text, lambda path: path == "common/base/error.h", folders))

    def test_it_is_read_in_five_minutes(self):
        self.assertEqual(self.check("word | -- " * 1250 + "```\n"), "")
        self.assertIn("1251 words", self.check("word " * 1251))

    def test_what_it_names_is_there_and_what_is_there_is_named(self):
        text = "`common/base/error.h`, `common/base`\n| `tests` | sim, power (cuts) |\n"
        self.assertEqual(self.check(text.replace(", `common/base`", ""), ["tests/sim", "tests/power"]), "")
        self.assertIn("names common/base, which is not there", self.check(text))
        self.assertIn("says nothing of tests/fuzz", self.check(text, ["tests/sim", "tests/fuzz"]))


class Sizes(unittest.TestCase):
    def function(self, body_lines):
        return "int\nlong_one(int a,\n    int b)\n{\n" + "    a++;\n" * body_lines + "}\n"

    def test_a_function_of_seventy_lines_passes_and_one_more_does_not(self):
        self.assertEqual(rules.check_functions("x.c", self.function(66)), [])
        self.assertIn("long_one has 71 lines", messages(rules.check_functions("x.c", self.function(67))))

    def test_an_initialiser_is_not_a_function(self):
        self.assertEqual(list(rules.functions("static const int a[] = {\n    1,\n};\n")), [])

    def test_columns(self):
        self.assertEqual(rules.check_text("common/base/x.c", "x" * 100), [])
        self.assertIn("101 columns", messages(rules.check_text("common/base/x.c", "x" * 101)))

    def test_a_broken_picture(self):
        row = "'C' tenant NUL           CollectionRecord"
        for line in (f" *   {row}", " * NO_MEMORY     there is none", f"/* {row} */", " * a sentence.  Another one"):
            self.assertEqual(rules.check_text("common/base/x.h", line), [], line)
        self.assertIn("picture", messages(rules.check_text("common/base/x.h", f" * deletes {row}")))


class Words(unittest.TestCase):
    def test_unfinished_work_is_found(self):
        for text in ("/* TO" "DO: later */", "# FIX" "ME", "#if 0"):
            self.assertIn("unfinished", messages(rules.check_text("a.c", text)))

    def test_folders_outside_are_found(self):
        self.assertIn("outside", messages(rules.check_text("a.md", "see /wo" "rk/x")))

    def test_trailing_blanks_and_tabs_are_found(self):
        self.assertIn("blanks", messages(rules.check_text("a.c", "x ")))
        self.assertIn("a tab", messages(rules.check_text("a.c", "\tx")))


class Comments(unittest.TestCase):
    def test_a_file_opens_with_what_it_promises(self):
        self.assertEqual(rules.check_header_comment("x.c", HEADER), [])
        self.assertEqual(rules.check_header_comment("x.c", "/*\n * x.c - see x.h.\n */\n"), [])
        self.assertTrue(rules.check_header_comment("x.c", "#include <stdio.h>\n"))
        self.assertTrue(rules.check_header_comment("x.c", "/* x.c */\n"))

    def test_a_header_has_a_guard(self):
        self.assertTrue(rules.check_header_comment("x.h", HEADER))
        self.assertFalse(rules.check_header_comment("x.h", HEADER + "#ifndef WEIR_X_H\n#define WEIR_X_H\n"))


class Protos(unittest.TestCase):
    def check(self, body):
        return messages(protos.check_source('syntax = "proto3";\npackage weir.v1;\n' + body))

    def test_a_plain_message_passes(self):
        self.assertEqual(self.check("message A { string document_id = 1; }"), "")

    def test_presence_and_recursion_are_refused(self):
        self.assertIn("optional", self.check("message A { optional string b = 1; }"))
        self.assertIn("recursive", self.check("message A { B b = 1; } message B { repeated A a = 1; }"))

    def test_names_and_types_agree(self):
        self.assertIn("_time", self.check("message A { int64 create_time = 1; }"))
        self.assertIn("_id", self.check("message A { int32 document_id = 1; }"))
        self.assertIn("holds the message", self.check("message Document {} message A { string document = 1; }"))

    def test_an_enum_starts_at_unspecified(self):
        self.assertIn("UNSPECIFIED", self.check("enum E { E_ONE = 0; }"))


if __name__ == "__main__":
    unittest.main()
