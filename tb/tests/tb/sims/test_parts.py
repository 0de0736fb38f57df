"""CXXRTL's C++ in parts: cut as it should be, also what the installed version writes."""

import pytest

from tb.sims import compiled, parts, words
from tb.tests.tb.core.toy import TOY

SOURCE = """\
struct p_design : public module {
	wire<2> p_q;
	bool eval(performer *performer = nullptr) override;
}; // struct p_design

bool p_design::eval(performer *performer) {
	bool converged = true;
	bool posedge_p_clk = this->posedge_p_clk();
	value<3> p_a;
	// cells $1
	// cell $2
	p_a = p_q.curr;
	// cell $3
	auto tmp_0 = p_a;
	if (posedge_p_clk) {
		// inside
		p_q.next = tmp_0;
	}
	return converged;
}
rest
"""

CUT = """\
struct p_design : public module {
	wire<2> p_q;
	bool eval(performer *performer = nullptr) override;
	value<3> p_a;
	void part0(bool posedge_p_clk);
	void part1(bool posedge_p_clk);
}; // struct p_design

void p_design::part0(bool posedge_p_clk) {
	// cells $1
	// cell $2
	p_a = p_q.curr;
}
void p_design::part1(bool posedge_p_clk) {
	// cell $3
	auto tmp_0 = p_a;
	if (posedge_p_clk) {
		// inside
		p_q.next = tmp_0;
	}
}
bool p_design::eval(performer *performer) {
	bool converged = true;
	bool posedge_p_clk = this->posedge_p_clk();
	part0(posedge_p_clk);
	part1(posedge_p_clk);
	return converged;
}
rest
"""


def test_statements_of_a_cell_stay_together(monkeypatch):
    monkeypatch.setattr(parts, "PART", 10)
    assert parts.cut(SOURCE, "p_design") == CUT


def test_a_short_function_is_one_part():
    assert parts.cut(SOURCE, "p_design").count("::part") == 1


@pytest.mark.parametrize("part", ["::eval(performer *performer) {", "}; // struct", "return conv"])
def test_what_has_another_form_stays_as_it_is(part):
    other = SOURCE.replace(part, "else")
    assert parts.cut(other, "p_design") == other


def test_what_yosys_writes_is_cut():
    if why := compiled.missing():
        pytest.skip(f"not run: {why}")
    source = (words.build(TOY) / "design.cc").read_text()
    assert "::part0(bool posedge_p_clk) {" in source
