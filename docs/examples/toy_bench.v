// Prints the first eight events of the toy core, as toy_core.py does.
module toy_bench;
  reg clk = 1'b0, rst = 1'b1;
  wire valid, step_exception;
  wire [63:0] pc, esr;
  wire [1:0] el, el_after, state_after;
  wire [3:0] kind;

  toy_core core (
      .clk(clk),
      .rst(rst),
      .valid(valid),
      .pc(pc),
      .el(el),
      .kind(kind),
      .step_exception(step_exception),
      .esr(esr),
      .el_after(el_after),
      .state_after(state_after)
  );

  always #1 clk = !clk;

  reg [18*8-1:0] state;
  always @*
    case (state_after)
      2'd0: state = "inactive";
      2'd1: state = "active-not-pending";
      default: state = "active-pending";
    endcase

  task row;
    if (step_exception)
      $display("EL%0d 0x%0h step exception, ESR 0x%0h -> EL%0d %0s", el, pc, esr, el_after, state);
    else
      $display("EL%0d 0x%0h %0s -> EL%0d %0s", el, pc, kind == 4'd8 ? "eret" : "execute", el_after,
               state);
  endtask

  initial begin
    @(negedge clk) @(negedge clk) rst = 1'b0;
    @(negedge clk);
    repeat (8) begin
      row;
      @(negedge clk);
    end
    $finish;
  end
endmodule
