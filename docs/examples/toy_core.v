// The step unit in a toy core, as toy_core.py: a hypervisor of two instructions steps a guest that
// has no end. Every instruction takes one clock cycle. Inputs that are not connected would be z:
// each has its value here.
module toy_core (
    input  wire        clk,
    input  wire        rst,
    output wire        valid,
    output reg  [63:0] pc,
    output wire [1:0]  el,
    output wire [3:0]  kind,
    output wire        step_exception,
    output wire [63:0] esr,
    output wire [1:0]  el_after,
    output wire [1:0]  state_after
);
  localparam [63:0] HYPERVISOR = 64'h1000, VECTOR = 64'h1400, GUEST = 64'h8000;
  localparam [3:0] EXECUTE = 4'd0, ERET = 4'd8;
  localparam [63:0] SCR_EL3_NS = 64'h1, MDCR_EL2_TDE = 64'h100;
  localparam [63:0] MDSCR_EL1_SS = 64'h1, SPSR_SS = 64'h200000;

  reg running;  // from the second cycle on
  reg [63:0] elr;

  // The instruction at the PC.
  wire is_eret = pc == HYPERVISOR + 4 || pc == VECTOR;

  // Where it goes on: what the unit did comes before what the instruction would do.
  always @(posedge clk)
    if (rst) begin
      running <= 1'b0;
      pc <= HYPERVISOR;
      elr <= GUEST;
    end else begin
      running <= 1'b1;
      if (running) begin
        pc <= pc + 4;
        if (step_exception) begin
          pc  <= VECTOR;
          elr <= pc;
        end else if (is_eret) pc <= elr;
      end
    end

  step_unit unit (
      .clk(clk),
      .rst(rst),

      // The PE begins at EL2, debug exceptions masked: {il, ss, d, nrw, el}.
      .load__enable(!running),
      .load__pstate({1'b0, 1'b0, 1'b1, 1'b0, 2'd2}),
      .load__mdscr_el1(64'h0),
      .load__mdscr_el1_written(64'h0),
      .load__last(3'd0),

      // SPSR_EL2 is EL0t with SS = 1: the return arms the step.
      .event__valid(running),
      .event__kind(is_eret ? ERET : EXECUTE),
      .event__pc(pc),
      .event__target_el(2'd0),
      .event__spsr(SPSR_SS),
      .event__d_write(1'b0),
      .event__d_value(1'b0),
      .event__mdscr_write(pc == HYPERVISOR),
      .event__mdscr_value(MDSCR_EL1_SS),

      .choice__async_first(1'b0),
      .choice__isv_choice(1'b1),
      .choice__mdscr_seen(1'b1),

      // Non-secure, and debug exceptions go to EL2. Nothing here writes these registers, so they
      // are the same before and after each event.
      .halted(1'b0),
      .controls__have_el2(1'b1),
      .controls__have_el3(1'b1),
      .controls__have_sel2(1'b0),
      .controls__el1_aarch32(1'b0),
      .controls__el2_aarch32(1'b0),
      .controls__mdcr_el2(MDCR_EL2_TDE),
      .controls__hcr_el2(64'h0),
      .controls__scr_el3(SCR_EL3_NS),
      .controls__mdcr_el3(64'h0),
      .controls__sder32_el3(64'h0),
      .controls__oslsr_el1(64'h0),
      .controls__double_lock(1'b0),
      .controls_after__have_el2(1'b1),
      .controls_after__have_el3(1'b1),
      .controls_after__have_sel2(1'b0),
      .controls_after__el1_aarch32(1'b0),
      .controls_after__el2_aarch32(1'b0),
      .controls_after__mdcr_el2(MDCR_EL2_TDE),
      .controls_after__hcr_el2(64'h0),
      .controls_after__scr_el3(SCR_EL3_NS),
      .controls_after__mdcr_el3(64'h0),
      .controls_after__sder32_el3(64'h0),
      .controls_after__oslsr_el1(64'h0),
      .controls_after__double_lock(1'b0),

      .trace__valid(valid),
      .trace__el(el),
      .trace__event(kind),
      .trace__step_exception(step_exception),
      .trace__esr(esr),
      .trace__el_after(el_after),
      .trace__state_after(state_after),

      // Outputs that this core does not need.
      .pending(), .target_el(), .esr(), .pstate(), .mdscr_el1(), .state(), .trace__pc(),
      .trace__nrw(), .trace__d(), .trace__ss(), .trace__il(), .trace__mdscr_el1(),
      .trace__mdscr_el1_written(), .trace__last(), .trace__eld(), .trace__enabled(),
      .trace__state(), .trace__illegal_state(), .trace__spsr_saved(), .trace__spsr_ss(),
      .trace__nrw_after(), .trace__d_after(), .trace__ss_after(), .trace__il_after()
  );
endmodule
