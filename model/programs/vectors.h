// A table of 16 vectors that all go to one place.
	.macro	vectors name, to
	.balign	0x800, 0
\name:
	.rept	16
	b	\to
	.balign	0x80, 0
	.endr
	.endm
