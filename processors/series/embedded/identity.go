package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// identityFile holds the store's name among all stores, made when the store is.
const identityFile = "kemi-store"

// ID implements sink.Local.
func (s *Sink) ID() string { return s.id }

// identity reads the name of the store in dir, or gives it one.
func identity(dir string) (string, error) {
	path := filepath.Join(dir, identityFile)
	data, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(data)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the name of the store: %w", err)
	}
	id := strings.ToLower(rand.Text()[:12])
	if err := os.WriteFile(path, []byte(id+"\n"), 0o640); err != nil {
		return "", fmt.Errorf("name the store: %w", err)
	}
	return id, nil
}
