"""What weir's sources must hold, as pure functions: text in, [(line, message)] out.

rules_test.py shows each rule a text that breaks it; run.py applies them to the tree.
"""

import re

# Who may include whom: the arrows of the architecture.  A folder may always include itself.
BASE = {"common/base"}
STORING = BASE | {"common/metrics", "common/wire", "common/store", "common/domain"}
COMMON = STORING | {
    "common/config", "common/rpc", "common/json", "common/http", "common/text", "common/link", "common/stage",
    "common/service",
}
ARROWS = {
    "common/base": set(),
    "common/config": BASE,
    "common/metrics": BASE,
    "common/wire": BASE,
    "common/store": BASE | {"common/metrics"},
    "common/rpc": BASE | {"common/metrics", "common/wire"},
    "common/json": BASE | {"common/wire"},
    "common/http": BASE | {"common/metrics"},
    "common/text": BASE,
    "common/domain": BASE | {"common/wire", "common/store"},
    "common/link": STORING,
    "common/stage": STORING | {"common/config", "common/link"},
    "common/service": COMMON,
    "services": COMMON,  # and its own folder, never another service
    "cli": COMMON,
}
GENERATED = "weir/"  # "weir/v1/document.pb-c.h": for those who may include common/wire
FOREIGN_GENERATED = ("google/", "grpc/health/", "grpc/reflection/")

# Each library's headers are included in one place, so that its errors are translated in one place.
THIRD_PARTY = {
    "openssl/": {"common/base"},
    "xxhash.h": {"common/base"},
    "yaml.h": {"common/config"},
    "rocksdb/": {"common/store"},
    "zmq.h": {"common/link", "common/stage"},
    "grpc/": {"common/rpc"},
    "yyjson.h": {"common/json"},
    "curl/": {"common/http"},
    "microhttpd.h": {"common/http"},
    "utf8proc.h": {"common/text"},
    "protobuf-c/": {"common/wire", "common/rpc", "common/json"},
    "onnxruntime/": {"services/embedder"},
    "onnxruntime_c_api.h": {"services/embedder"},
    "faiss/": {"services/indexer"},
    "gumbo.h": {"services/ingest"},
    "md4c.h": {"services/ingest"},
    "md4c-html.h": {"services/ingest"},
    "histedit.h": {"cli"},
}
SYSTEM = re.compile(r"^((sys|arpa|net|netinet|linux|asm)/[\w./-]+|\w+)(\.h)?$")

# Calls that belong to common/base alone, and what to use in their place.
BASE_ONLY = {
    "malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf": "weir_alloc and friends, or an arena",
    "time clock_gettime gettimeofday timespec_get ftime clock": "common/base/clock.h, or the now of the round",
    "rand random srand srandom drand48 rand_r getrandom getentropy arc4random": "common/base/random.h",
}
NEVER = {
    "strcpy strcat sprintf vsprintf gets strtok": "a function that knows the size",
    "atoi atol atoll atof": "a parser that reports what is wrong",
    "alloca": "an arena",
    "sleep usleep nanosleep": "an event with a deadline",
    "system popen": "posix_spawn with an argument vector",
}
FUNCTION_LINES_MAX = 70
# A row of a picture is indented in its comment; joined to the line before it, it is not.  Error codes with their
# meaning may begin at the edge.
BROKEN_PICTURE = re.compile(r"^ \* (?![A-Z_0-9]+ {2,})\S.*\S {3,}\S")
COLUMNS = {".c": 100, ".h": 100, ".cc": 100, ".proto": 120, ".py": 120, ".cmake": 120, "": 120}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|^\s*#\s*if\s+0\b")
ELSEWHERE = re.compile(r"(?<![\w.])/wo" r"rk/|\.\./sha" r"red\b")


def module_of(path):
    """common/store/keys.c -> common/store; services/indexer/index/flat.cc -> services/indexer; cli/up.c -> cli."""
    parts = path.split("/")
    return parts[0] if parts[0] == "cli" else "/".join(parts[:2])


def allowed_arrows(module):
    return ARROWS.get("services" if module.startswith("services/") else module)


def includes(text):
    for number, line in enumerate(text.split("\n"), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1) == "<", found.group(2)


def check_arrows(path, text):
    module = module_of(path)
    allowed = allowed_arrows(module)
    if allowed is None:
        return [(1, f"{module} has no line in ARROWS (tests/lint/rules.py)")]
    problems = []
    for number, is_system, name in includes(text):
        if is_system:
            continue
        if name.endswith(".pb-c.h"):
            target = "common/wire"
        elif "/" not in name:
            problems.append((number, f'"{name}": includes are written from the top of the repository'))
            continue
        else:
            target = module_of(name)
        if target != module and target not in allowed:
            problems.append((number, f"{module} must not include {target}: arrows point down only"))
    return problems


def check_third_party(path, text):
    module = module_of(path)
    problems = []
    for number, is_system, name in includes(text):
        homes = next((h for prefix, h in THIRD_PARTY.items() if name == prefix or name.startswith(prefix)), None)
        if not is_system:
            continue
        if homes is None:
            if not SYSTEM.match(name):
                problems.append((number, f"<{name}> has no line in THIRD_PARTY (tests/lint/rules.py)"))
        elif module not in homes:
            problems.append((number, f"<{name}> may be included in {', '.join(sorted(homes))} only"))
    return problems


def blank_comments_and_strings(text):
    """The same lines with comments and the insides of strings and characters blanked."""

    def blank(found):
        token = found.group(0)
        if token[0] in "\"'":
            return token[0] + " " * (len(token) - 2) + token[0]
        return re.sub(r"[^\n]", " ", token)

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


UNPACK = re.compile(r"\b(protobuf_c_message_unpack|\w+__unpack)\s*\(")


def check_calls(path, text):
    code = blank_comments_and_strings(text)
    tables = [NEVER] if module_of(path) == "common/base" else [NEVER, BASE_ONLY]
    instead = {name: use for table in tables for names, use in table.items() for name in names.split()}
    call = re.compile(r"(?<![\w.>])(" + "|".join(instead) + r")\s*\(")
    problems = []
    for number, line in enumerate(code.split("\n"), 1):
        for found in call.finditer(line):
            problems.append((number, f"{found.group(1)}: use {instead[found.group(1)]}"))
        for found in UNPACK.finditer(line) if module_of(path) != "common/wire" else ():
            problems.append((number, f"{found.group(1)}: use weir_wire_decode, which checks the bytes before"))
    return problems


def functions(text):
    """(name, first line, line count) of each function definition: the brace that opens one stands alone."""
    lines = blank_comments_and_strings(text).split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{" and number > 0 and lines[number - 1].rstrip().endswith(")"):
            start = number
            while start > 0 and not re.match(r"^[A-Za-z_]\w*\(", lines[start]):
                start -= 1
        elif line == "}" and start is not None:
            yield lines[start].split("(")[0], start + 1, number - start + 1
            start = None


def check_functions(_path, text):
    return [
        (line, f"{name} has {count} lines, and {FUNCTION_LINES_MAX} is the most")
        for name, line, count in functions(text)
        if count > FUNCTION_LINES_MAX
    ]


def check_header_comment(path, text):
    problems = []
    comment = re.match(r"/\*(.*?)\*/", text, flags=re.S)
    words = comment.group(1).split() if comment else []
    if len(words) < 6 and not re.search(r"\bsee [\w./]+\.h\b", " ".join(words)):
        problems.append((1, "the file does not open with a comment that says what it owns and promises"))
    if path.endswith(".h"):
        guard = re.search(r"^#ifndef (WEIR_\w+_H)\n#define \1\n", text, flags=re.M)
        if guard is None and "#pragma once" not in text:
            problems.append((1, "no include guard WEIR_..._H"))
    return problems


def check_text(path, text):
    """For every text file: finished, within the columns, and complete in itself."""
    suffix = "." + path.rsplit(".", 1)[1] if "." in path.rsplit("/", 1)[-1] else ""
    columns = COLUMNS.get(suffix)
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        if UNFINISHED.search(line):
            problems.append((number, "unfinished work is filed, not left in a file"))
        if ELSEWHERE.search(line):
            problems.append((number, "names a folder outside the repository"))
        if columns is not None and len(line) > columns:
            problems.append((number, f"{len(line)} columns, and {columns} is the most"))
        if line != line.rstrip() and suffix != ".md":
            problems.append((number, "blanks at the end of the line"))
        if suffix in (".c", ".h", ".cc") and "\t" in line:
            problems.append((number, "a tab"))
        if suffix in (".c", ".h", ".cc") and BROKEN_PICTURE.search(line):
            problems.append((number, "a picture that the formatter has broken: keep its lines within the columns"))
    return problems


FIVE_MINUTES = 1250  # words, at 250 a minute


def check_architecture(text, exists, folders):
    """ARCHITECTURE.md is read in five minutes, names nothing that is not there, and leaves no folder out."""
    found = []
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    words = re.findall(r"[A-Za-z0-9][^\s|]*", prose)
    if len(words) > FIVE_MINUTES:
        found.append((None, f"{len(words)} words, and five minutes have {FIVE_MINUTES}: move rules to PROTOCOLS.md"))
    for number, line in enumerate(text.splitlines(), 1):
        for path in re.findall(r"`([a-z]+/[A-Za-z0-9_./-]+)`", line):
            if not exists(path):
                found.append((number, f"names {path}, which is not there"))
    named = set(re.findall(r"`([a-z]+(?:/[a-z]+)?)`", text))
    tests = {f"tests/{word}" for line in text.splitlines() if line.startswith("| `tests`")
             for word in re.findall(r"[a-z]+", line)}
    found += [(None, f"says nothing of {folder}") for folder in sorted(set(folders) - named - tests)]
    return found
