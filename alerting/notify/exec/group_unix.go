//go:build unix

package exec

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// together has the program lead a group of its own, which is killed as one.
func together(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
}

// leave ends what a program left behind when it still held on to its output. The group cannot be another's by then:
// somebody is in it.
func leave(cmd *exec.Cmd, err error) {
	if errors.Is(err, exec.ErrWaitDelay) {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}
