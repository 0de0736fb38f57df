"""The vector file: text in, text out, and what is refused."""

import random
import tracemalloc

import pytest

from model.vectors import VectorError, VectorFile, model_answer, run

OUTPUTS = (
    "eld,enabled,state,step_exception,el_after,d_after,ss_after,il_after,state_after,esr,spsr_ss"
)
IDLE = "1,0,inactive,0,1,0,0,0,inactive,,"  # what `execute` does where nothing is set


class Files:
    """An input file, and an output file beside it."""

    def __init__(self, directory):
        self.directory = directory
        self.source = directory / "in.csv"
        self.destination = directory / "out.csv"

    def write(self, text):
        self.source.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.source

    def run(self, text):
        """The bytes of the output."""
        run(self.write(text), self.destination, model_answer)
        return self.destination.read_bytes()

    def lines(self, text):
        return self.run(text).decode().splitlines()

    def refuse(self, text):
        """The text of the error; the output file must be as it was."""
        self.write(text)
        return self.refused()

    def refused(self):
        self.destination.write_text("old")
        with pytest.raises(VectorError) as error:
            run(self.source, self.destination, model_answer)
        assert self.destination.read_text() == "old"
        self.destination.unlink()
        with pytest.raises(VectorError):
            run(self.source, self.destination, model_answer)
        assert not self.destination.exists()
        assert {path.name for path in self.directory.iterdir()} <= {"in.csv"}
        return str(error.value)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


@pytest.fixture
def small_chunks(monkeypatch):
    """A function that sets how many lines are held at a time."""

    def set_size(size):
        monkeypatch.setattr(VectorFile.chunks, "__defaults__", (size,))

    return set_size


# What is written


@pytest.mark.parametrize(
    ("header", "line", "outputs"),
    [
        ("event", "execute", IDLE),
        # Nothing is set; the exceptions save PSTATE.SS, the calls 0.
        ("ss,target_el,event", "1,2,exception", "1,0,inactive,0,2,1,0,0,inactive,,1"),
        ("ss,target_el,event", "1,2,interrupt", "1,0,inactive,0,2,1,0,0,inactive,,1"),
        ("ss,target_el,event", "1,2,hvc", "1,0,inactive,0,2,1,0,0,inactive,,0"),
        # A guest is stepped by EL2: armed, stepped, pending.
        (
            "el,mdscr_el1,mdcr_el2,spsr,event",
            "2,1,0x100,0x200005,eret",
            "2,0,inactive,0,1,0,1,0,active-not-pending,,",
        ),
        (
            "mdscr_el1,mdcr_el2,ss,event",
            "1,0x100,1,execute",
            "2,1,active-not-pending,0,1,0,0,0,active-pending,,",
        ),
        (
            "mdscr_el1,mdcr_el2,last,event",
            "1,0x100,instruction,execute",
            "2,1,active-pending,1,2,1,0,0,inactive,0xCB000022,0",
        ),
        (
            "mdscr_el1,mdcr_el2,last,event",
            "1,0x100,load_exclusive,execute",
            "2,1,active-pending,1,2,1,0,0,inactive,0xCB000062,0",
        ),
        (
            "mdscr_el1,mdcr_el2,event",
            "1,0x100,execute",
            "2,1,active-pending,1,2,1,0,0,inactive,0xCA000022,0",
        ),
        # A kernel steps itself.
        ("mdscr_el1,event", "0x2001,execute", "1,1,active-pending,1,1,1,0,0,inactive,0xCE000022,0"),
        (
            "mdscr_el1,last,event",
            "8193,load_exclusive,isb",
            "1,1,active-pending,1,1,1,0,0,inactive,0xCF000062,0",
        ),
        (
            "mdscr_el1,ss,d_write,event",
            "0x2001,1,1,execute",
            "1,1,active-not-pending,0,1,1,0,0,inactive,,",
        ),
        (
            "mdscr_el1,ss,mdscr_write,mdscr_seen,event",
            "0x2001,1,0,0,execute",
            "1,1,active-not-pending,0,1,0,0,0,active-pending,,",
        ),
        (
            "mdscr_el1,ss,mdscr_write,mdscr_seen,event",
            "0x2001,1,0,1,execute",
            "1,1,active-not-pending,0,1,0,0,0,inactive,,",
        ),
        (
            "mdscr_el1,target_el,async_first,event",
            "0x2001,2,1,interrupt",
            "1,1,active-pending,0,2,1,0,0,inactive,,0",
        ),
        ("il,ss,target_el,event", "1,1,2,svc", "1,0,inactive,0,1,1,0,0,inactive,,1"),
        ("event,spsr", "eret,2", "1,0,inactive,0,1,0,0,1,inactive,,"),
        (
            "halted,mdscr_el1,event,spsr",
            "1,0x2001,debug_exit,0x200005",
            "1,0,inactive,0,1,0,1,0,active-not-pending,,",
        ),
    ],
)
def test_line_and_its_answer(files, header, line, outputs):
    assert files.lines(f"{header}\n{line}\n") == [f"{header},{OUTPUTS}", f"{line},{outputs}"]


def test_columns_come_back_in_the_order_they_came(files):
    text = "ss,event,el\n1,execute,2\n"
    assert files.lines(text)[0] == "ss,event,el," + OUTPUTS
    assert files.lines(text)[1].startswith("1,execute,2,1,0,inactive,")


def test_cells_come_back_as_they_came(files):
    text = "mdscr_el1,hcr_el2,d,event,spsr\n0x00,007,,execute,0xAbC\n"
    assert files.lines(text)[1] == f"0x00,007,,execute,0xAbC,{IDLE}"


def test_lines_come_back_in_input_order(files):
    text = "event,hcr_el2\n" + "".join(f"execute,{n}\n" for n in range(100))
    wanted = [f"execute,{n},{IDLE}" for n in range(100)]
    assert files.lines(text)[1:] == wanted


def test_comments_and_blank_lines_are_skipped(files):
    text = "# first\n\nevent\n# a, comment, with cells\n\nexecute\n\n#execute\nexecute\n"
    assert files.lines(text) == [f"event,{OUTPUTS}"] + [f"execute,{IDLE}"] * 2


@pytest.mark.parametrize(
    "text",
    [
        b"event,d\r\nexecute,1\r\n",
        b"\xef\xbb\xbfevent,d\nexecute,1\n",
        b"\xef\xbb\xbf# comment\r\nevent,d\r\nexecute,1",
        b"event,d\nexecute,1",
    ],
    ids=["crlf", "bom", "bom-comment-crlf", "no-last-newline"],
)
def test_line_ends_and_byte_order_mark_do_not_matter(files, text):
    wanted = f"event,d,{OUTPUTS}\nexecute,1,1,0,inactive,0,1,1,0,0,inactive,,\n"
    assert files.run(text) == wanted.encode()


def test_comment_may_hold_bytes_that_are_not_text(files):
    assert files.lines(b"event\n# \xff\xfe\nexecute\n")[1:] == [f"execute,{IDLE}"]


def test_largest_register_values_are_taken(files):
    line = "0xFFFFFFFFFFFFFFFF,18446744073709551615,execute"
    text = f"hcr_el2,mdcr_el2,event\n{line}\n"
    assert files.lines(text)[1] == f"{line},2,1,inactive,0,1,0,0,0,inactive,,"


def test_output_may_take_the_place_of_the_input(files):
    files.write("event\nexecute\n")
    assert run(files.source, files.source, model_answer) == 1
    assert files.source.read_text() == f"event,{OUTPUTS}\nexecute,{IDLE}\n"


def test_run_says_how_many_lines_there_were(files):
    source = files.write("event\nexecute\n# no line\nisb\n\nexecute\n")
    assert run(source, files.destination, model_answer) == 3


def test_the_file_is_closed_where_the_answer_breaks_off(files):
    source = files.write("event\nexecute\n")
    given = []

    def broken(chunks):
        given.append(chunks)
        yield from ((chunk, 1 // 0) for chunk in chunks)

    with pytest.raises(ZeroDivisionError):
        run(source, files.destination, broken)
    assert given[0].gi_frame is None  # the generator has ended, and with it the file that it reads
    assert not files.destination.exists()


# What is refused: the file's text, the line and the column that the error must name

EVENT_NAMES = (
    "one of execute, load_exclusive, isb, svc, hvc, smc, exception, interrupt, eret, debug_exit"
)
LAST_NAMES = (
    "one of nothing, instruction, load_exclusive, eret_or_isb, other_exception, other_exception_ex"
)
NUMBER = "a number of at most 64 bits, hexadecimal (0x...) or decimal"

ILL_FORMED = [
    *[("mdscr_el1", cell, NUMBER) for cell in ("x", "-1", "+1", "1.0", "1e3", "0x", "0X1", "1_0")],
    *[("hcr_el2", cell, NUMBER) for cell in ("0b1", "0o7", " 1", "1 ", "0x1g", "\t1", "nan", "1h")],
    *[("mdcr_el2", cell, NUMBER) for cell in ("18446744073709551616", "0x10000000000000000")],
    *[("scr_el3", cell, NUMBER) for cell in ("NS", "١", "１", "0x１", "\x00", "'1'")],
    *[("mdcr_el3", "0x-1", NUMBER), ("sder32_el3", "- 1", NUMBER), ("oslsr_el1", "0xx", NUMBER)],
    *[("spsr", "EL1h", NUMBER), ("mdscr_write", "none", NUMBER)],
    *[("d", cell, "one of 0, 1") for cell in ("2", "true", "0x1", "00", "-1", "1.0", " 0", "x")],
    *[(flag, "2", "one of 0, 1") for flag in ("ss", "il", "double_lock", "halted", "isv_choice")],
    *[(flag, "no", "one of 0, 1") for flag in ("el1_aarch32", "el2_aarch32", "have_el2")],
    *[(flag, "?", "one of 0, 1") for flag in ("have_el3", "have_sel2", "d_write", "async_first")],
    ("mdscr_seen", "-", "one of 0, 1"),
    *[("el", cell, "one of 0, 1, 2, 3") for cell in ("4", "-1", "EL1", "0x1", "01", "1 ")],
    *[("target_el", cell, "one of 0, 1, 2, 3") for cell in ("4", "el2")],
    *[("last", cell, LAST_NAMES) for cell in ("None", "eret", "LOAD_EXCLUSIVE", "1")],
]

MALFORMED = [
    # Cells of one line below the header, which is line 3 after a comment and a blank line.
    *[(f"event,{c}\n# x\n\nexecute,{v}\n", 4, c, f"{v!r} is not {e}") for c, v, e in ILL_FORMED],
    *[
        (f"d,event\n1,execute\n1,{cell}\n", 3, "event", f"{cell!r} is not {EVENT_NAMES}")
        for cell in ("", "Execute", "EXECUTE", "execute ", " execute", "load-exclusive", "0", "nop")
    ],
    (b"el,event\n1,ex\xffcute\n", 2, "event", "'ex\\udcffcute' is not one of"),
    ("event,spsr\neret,0\neret," + "9" * 5000 + "\n", 3, "spsr", "'" + "9" * 40 + "' is not a num"),
    # The first of two ill-formed lines is named, and in it the first cell.
    ("el,d,event\n1,0,execute\n7,8,x\n9,9,y\n", 3, "el", "'7' is not one of 0, 1, 2, 3"),
    # Too few and too many cells.
    ("el,event,d\n1,execute,0\n1,execute\n", 3, "d", "the cell is missing: the line has 2 cells"),
    ("el,event,d\n1\n", 2, "event", "the cell is missing: the line has 1 cells, the header 3"),
    ("d,event\n   \n", 2, "event", "the cell is missing: the line has 1 cells, the header 2"),
    ("event\nexecute,\n", 2, None, "column 2: the header has no such column: the line has 2 cells"),
    ("event\nexecute,1,2\n", 2, None, "column 2: the header has no such column: the line has 3"),
    (" # no comment\nevent\nexecute\n", 1, None, "unknown column ' # no comment'"),
    ("event\n # no comment\nexecute\n", 2, "event", "' # no comment' is not one of"),
    # Headers.
    ("event,foo\nexecute,1\n", 1, None, "unknown column 'foo'; the columns are el, d, ss, il, "),
    ("# x\nfoo\nexecute\n", 2, None, "unknown column 'foo'"),
    ("event,\nexecute,\n", 1, None, "unknown column ''"),
    ("EVENT\nexecute\n", 1, None, "unknown column 'EVENT'"),
    ("el, event\n1,execute\n", 1, None, "unknown column ' event'"),
    ("event,eld\nexecute,1\n", 1, None, "unknown column 'eld'"),
    ("event;el\nexecute;1\n", 1, None, "unknown column 'event;el'"),
    (b"\xef\xbb\xbf\xef\xbb\xbfevent\nexecute\n", 1, None, "unknown column '\\ufeffevent'"),
    ("execute\n", 1, None, "unknown column 'execute'"),
    ("event,d,d\nexecute,1,1\n", 1, "d", "stands there twice; keep one"),
    ("event,event\nexecute,isb\n", 1, "event", "stands there twice; keep one"),
    ("\n\n# x\nel,d\n1,1\n", 4, "event", "is missing; it has no default"),
    ("", None, None, "no header line; the first line names the columns"),
    ("# only\n\n# comments\n", None, None, "no header line; the first line names the columns"),
    ("\n\n", None, None, "no header line; the first line names the columns"),
    ("\r\n", None, None, "no header line; the first line names the columns"),
    # No line of CSV.
    ('event\n"execute\n', 2, None, "not a line of CSV: unexpected end of data"),
    ('event\nexecute\n"execute"x\n', 3, None, "not a line of CSV: ',' expected after '\"'"),
    ('event\n"execute\nexecute"\n', 2, None, "not a line of CSV: unexpected end of data"),
    ("event\n" + "x" * 140000 + "\n", 2, "event", "'" + "x" * 40 + "' is not one of execute"),
    # Lines that a PE cannot be in, or an event that cannot be.
    ("event,el,have_el2\nexecute,1,0\nexecute,2,0\n", 3, "el", "that EL is not implemented"),
    ("event,el,have_el3\nexecute,3,0\n", 2, "el", "that EL is not implemented"),
    ("event,el,scr_el3\nexecute,2,0\n", 2, "el", "EL2 is not enabled in Secure state"),
    ("event,el2_aarch32\nexecute,1\n", 2, "el2_aarch32", "EL2 uses AArch32 only where EL1 does"),
    (
        "event,el1_aarch32,el2_aarch32,scr_el3\nexecute,1,1,0x40000\n",
        2,
        "el2_aarch32",
        "Secure EL2 never uses AArch32",
    ),
    ("event,halted\nexecute,1\n", 2, "halted", "in Debug state the event is debug_exit"),
    ("event\ndebug_exit\n", 2, "halted", "debug_exit needs halted = 1"),
    *[
        (f"event,target_el\n{event},\n", 2, "target_el", "this event needs the EL it is taken to")
        for event in ("svc", "hvc", "smc", "exception", "interrupt")
    ],
    ("event\nsvc\n", 2, "target_el", "this event needs the EL it is taken to"),
    ("event,target_el\nsvc,0\n", 2, "target_el", "an exception never goes below the current EL"),
    ("event,target_el,el\nsvc,1,2\n", 2, "target_el", "an exception never goes below the current"),
    ("event,target_el,have_el3\nsmc,3,0\n", 2, "target_el", "that EL is not implemented"),
    ("event,target_el,scr_el3\nhvc,2,0\n", 2, "target_el", "EL2 is not enabled in Secure state"),
    ("event,target_el,el1_aarch32\nsvc,1,1\n", 2, "target_el", "that EL uses AArch32"),
    ("event,el\neret,0\n", 2, "event", "there is no eret at EL0"),
    ("event,el1_aarch32\neret,1\n", 2, "event", "a return starts in AArch64 state"),
    ("event,d_write\nisb,1\n", 2, "d_write", "only execute writes PSTATE.D"),
    ("event,d_write,el1_aarch32\nexecute,1,1\n", 2, "d_write", "AArch32 state has no PSTATE.D"),
    ("event,mdscr_write\neret,0\n", 2, "mdscr_write", "only execute writes MDSCR_EL1"),
    ("event,mdscr_write,el\nexecute,1,0\n", 2, "mdscr_write", "EL0 cannot write MDSCR_EL1"),
    (
        "event,mdscr_write,d_write\nexecute,1,0\n",
        2,
        "mdscr_write",
        "one instruction writes PSTATE.D or MDSCR_EL1, not both",
    ),
    ("event,il,el1_aarch32\nexecute,1,1\n", 2, "il", "would go to AArch32"),
]


@pytest.mark.parametrize(
    ("text", "line", "column", "says"), MALFORMED, ids=map(str, range(len(MALFORMED)))
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_malformed_file_is_refused_with_its_line_and_column(
    files, text, line, column, says, newline
):
    data = text if isinstance(text, bytes) else text.encode()
    error = files.refuse(data.replace(b"\r\n", b"\n").replace(b"\n", newline.encode()))
    where = str(files.source) if line is None else f"{files.source}:{line}: "
    assert error.startswith(where)
    assert f": column {column!r}" in error or column is None
    assert says in error


def test_there_are_many_kinds_of_malformed_files():
    assert len({text for text, *_ in MALFORMED}) >= 100


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("event\n{}bad\n", 50),
        ("# x\n\n# y\nevent\n{}bad\n", 53),
        ("event\n\n\n{}# x\n\nbad\n", 54),
    ],
)
def test_comments_and_blank_lines_count_as_lines(files, text, line):
    error = files.refuse(text.format("execute\n" * 48))
    assert error.startswith(f"{files.source}:{line}: column 'event': 'bad' is not one of execute,")


def test_bad_line_a_chunk_away_is_named_by_its_own_number(files, small_chunks):
    small_chunks(7)
    text = "event,el\n" + "# x\nexecute,1\n\n" * 40 + "execute,4\n"
    assert files.refuse(text).startswith(f"{files.source}:122: column 'el': '4' is not one of 0, 1")


def test_of_several_lines_that_must_not_be_the_first_is_named(files):
    text = "event,el,have_el2,d_write\nexecute,1,1,\nisb,1,1,0\nexecute,2,0,\nisb,1,1,1\n"
    assert files.refuse(text).startswith(f"{files.source}:3: column 'd_write': only execute writes")
    text = "event,el,have_el2,d_write\nexecute,1,1,\nexecute,2,0,\nisb,1,1,0\nisb,1,1,1\n"
    assert files.refuse(text).startswith(f"{files.source}:3: column 'el': that EL is not impl")


def test_header_alone_is_refused(files):
    for text in ("event\n", "event", "event,el\n\n# x\n"):
        error = files.refuse(text)
        assert error == f"{files.source}: there is no line below the header; nothing to run"


def test_missing_file_is_refused(files):
    assert files.refused() == f"{files.source}: not a file; --vectors takes a CSV file"


def test_file_name_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(VectorError, match=r": cannot be read: |: not a file; "):
        VectorFile(tmp_path / ("x" * 5000))


def test_directory_is_refused(tmp_path):
    with pytest.raises(VectorError) as error:
        VectorFile(tmp_path)
    assert str(error.value) == f"{tmp_path}: not a file; --vectors takes a CSV file"


def test_output_in_a_missing_directory_is_refused(files):
    files.write("event\nexecute\n")
    destination = files.directory / "missing" / "out.csv"
    with pytest.raises(VectorError) as error:
        run(files.source, destination, model_answer)
    assert str(error.value) == f"{destination}: cannot be written: No such file or directory"
    assert [path.name for path in files.directory.iterdir()] == ["in.csv"]


def test_output_that_is_a_directory_is_refused_and_stays(files):
    files.write("event\nexecute\n")
    files.destination.mkdir()
    with pytest.raises(VectorError) as error:
        run(files.source, files.destination, model_answer)
    assert str(error.value).startswith(f"{files.destination}: cannot be written: ")
    assert sorted(path.name for path in files.directory.iterdir()) == ["in.csv", "out.csv"]


# Chunks

EVENTS = ["execute", "isb", "load_exclusive", "svc", "hvc", "exception", "interrupt", "eret"]


def random_file(rng, count):
    """Lines that are all fine, with comments and blank lines between them."""
    lines = ["event,el,ss,il,d,mdscr_el1,mdcr_el2,hcr_el2,target_el,spsr,last"]
    for _ in range(count):
        cells = [
            rng.choice(EVENTS),
            rng.choice(["", "1", "2"]),
            *(rng.choice("01") for _ in range(3)),
            rng.choice(["0", "1", "0x2001"]),
            rng.choice(["", "0x100"]),
            hex(rng.getrandbits(64)),
            rng.choice("23"),
            str(rng.getrandbits(22)),
            rng.choice(["", "instruction", "load_exclusive"]),
        ]
        lines.append(",".join(cells))
        lines += rng.choice([[], [], [""], ["# comment"]])
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("size", [1, 2, 7, 99, 100, 101])
def test_chunk_boundaries_change_nothing(files, small_chunks, seed, size):
    text = random_file(random.Random(seed), 100)
    whole = files.run(text)
    assert whole.count(b"\n") == 101
    small_chunks(size)
    assert files.run(text) == whole


@pytest.mark.parametrize(("size", "lengths"), [(3, [3, 3, 1]), (7, [7]), (8, [7]), (1, [1] * 7)])
def test_chunks_hold_at_most_size_lines(files, size, lengths):
    source = files.write("event\n" + "execute\n" * 7)
    assert [len(chunk) for chunk in VectorFile(source).chunks(size)] == lengths


def test_chunk_knows_the_numbers_of_its_lines(files):
    source = files.write("# x\nevent\nexecute\n\nexecute\n# y\nisb\n")
    chunks = list(VectorFile(source).chunks(2))
    assert [list(chunk.numbers) for chunk in chunks] == [[3, 5], [7]]


def test_error_after_the_first_chunk_writes_nothing(files, small_chunks):
    small_chunks(2)
    text = "event\n" + "execute\n" * 10 + "bad\n"
    assert files.refuse(text).startswith(f"{files.source}:12: column 'event'")


def test_error_after_the_first_16384_lines_writes_nothing(files):
    text = "event\n" + "execute\n" * 16384 + "bad\n"
    assert files.refuse(text).startswith(f"{files.source}:16386: column 'event'")


def test_answer_that_fails_leaves_the_output_as_it_was(files, small_chunks):
    small_chunks(2)
    files.write("event\n" + "execute\n" * 5)
    files.destination.write_text("old")

    def answer(chunks):
        answers = model_answer(chunks)
        yield next(answers)
        raise RuntimeError("the simulator went away")

    with pytest.raises(RuntimeError, match="went away"):
        run(files.source, files.destination, answer)
    assert files.destination.read_text() == "old"
    assert sorted(path.name for path in files.directory.iterdir()) == ["in.csv", "out.csv"]


def test_nothing_is_answered_before_every_line_is_checked(files, small_chunks):
    small_chunks(1)
    files.write("event\nexecute\nbad\n")

    def answer(chunks):
        pytest.fail("the answer was asked for")
        yield from model_answer(chunks)

    with pytest.raises(VectorError):
        run(files.source, files.destination, answer)


def test_memory_stays_flat(files):
    def peak(count):
        files.write("event\n" + "execute\n" * count)
        tracemalloc.start()
        try:
            run(files.source, files.destination, model_answer)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(60_000) <= 1.5 * peak(30_000)


def test_cells_come_back_as_they_came_quotes_too(files):
    assert files.lines('event,"el"\n"execute","2"\n')[1].startswith('"execute","2",')
