package embedded_test

import (
	"os"
	"path/filepath"
	"testing"
)

// copyOf copies a store while it is open, without what belongs to the process.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
