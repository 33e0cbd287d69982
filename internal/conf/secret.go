package conf

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
)

const hidden = "<secret>"

// Secret holds text that must not be shown: whatever prints, logs or encodes it shows "<secret>". In a file, a field of
// this type with the key token is given either as `token: text` or as `token_file: path`, where the path is relative to
// the folder of the configuration file and trailing line ends of the secret file do not count. Copies share the secret,
// so Reload reaches all of them; all methods may be called at the same time.
type Secret struct{ s *secret }

type secret struct {
	path string // "" when not from a file
	text atomic.Pointer[string]
}

// NewSecret returns a secret with the given text.
func NewSecret(text string) Secret {
	s := &secret{}
	s.text.Store(&text)
	return Secret{s}
}

// SecretFile reads a secret from a file, from which Reload reads it again.
func SecretFile(path string) (Secret, error) {
	s := Secret{&secret{path: path}}
	return s, s.Reload()
}

// Reload reads the secret again from its file; a secret that is not from a file stays as it is. On an error the old text
// is kept.
func (s Secret) Reload() error {
	if s.s == nil || s.s.path == "" {
		return nil
	}
	file, err := os.Open(s.s.path)
	if err != nil {
		return fmt.Errorf("read secret: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return fmt.Errorf("read secret: %w", err)
	}
	if len(data) > maxSecret {
		return fmt.Errorf("read secret: %s: %w", s.s.path, errHugeSecret)
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return fmt.Errorf("read secret: %s: %w", s.s.path, errEmptySecret)
	}
	s.s.text.Store(&text)
	return nil
}

// maxSecret is the largest secret in bytes. It is there for paths that name a device or a log by mistake.
const maxSecret = 1 << 20

var (
	errEmptySecret = errors.New("the file is empty")
	errHugeSecret  = errors.New("the file is larger than 1 MiB")
)

// Reveal returns the text. Call it where the secret is used and keep no copy, so that Reload takes effect.
func (s Secret) Reveal() string {
	if s.s == nil {
		return ""
	}
	if text := s.s.text.Load(); text != nil {
		return *text
	}
	return ""
}

// IsZero reports whether there is no secret, or an empty one.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Path returns the path of the file the secret is from, or "".
func (s Secret) Path() string {
	if s.s == nil {
		return ""
	}
	return s.s.path
}

// Equal reports whether two secrets hold the same text, in a time that does not depend on where they differ.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns "<secret>".
func (Secret) String() string { return hidden }

// GoString returns "<secret>".
func (Secret) GoString() string { return hidden }

// Format writes "<secret>" whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalJSON returns "<secret>".
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(hidden) }

// MarshalText returns "<secret>".
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalYAML returns "<secret>".
func (Secret) MarshalYAML() (any, error) { return hidden, nil }

// LogValue returns "<secret>".
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
