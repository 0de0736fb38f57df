"""KVM/arm64's guest debugging: what user space asks for, and what the host keeps of a vcpu."""
