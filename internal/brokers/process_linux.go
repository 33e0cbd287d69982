package brokers

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes put a broker into a process group of its own, and make it die with the test.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// forget writes a file to the disk and drops it from the page cache.
func forget(path string) (size int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil { // Only what is on the disk can be dropped.
		return 0, err
	}
	return info.Size(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
