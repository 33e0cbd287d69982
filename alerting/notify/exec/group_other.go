//go:build !unix

package exec

import "os/exec"

// together leaves it at the program itself: there are no groups here that are killed as one.
func together(*exec.Cmd) {}

func leave(*exec.Cmd, error) {}
