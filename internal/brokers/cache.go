package brokers

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// cached returns the path of what make built under that name, in the user's cache. It is made once, by whoever comes
// first of all processes on the machine; make gets a path beside it that does not exist, and creates it.
func cached(name string, build func(path string) error) (string, error) {
	root, err := os.UserCacheDir()
	if err != nil { // No home: as good as the user's cache until the machine starts again.
		root = filepath.Join(os.TempDir(), fmt.Sprintf("kemi-cache-%d", os.Getuid()))
	}
	dir := filepath.Join(root, "kemi-test")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	partial := path + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	if err := build(partial); err != nil {
		return "", err
	}
	return path, os.Rename(partial, path)
}
