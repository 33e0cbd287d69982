// Package journal keeps what is logged, for tests that read it while it goes on.
//
// In: writes, of a log or of a process. Out: all of it as text.
// It promises that writing and reading may be done at once.
// It never runs outside tests.
package journal

import (
	"strings"
	"sync"
)

// Journal is an io.Writer; the zero Journal is empty.
type Journal struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// String is everything that was written.
func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// Reset forgets what was written.
func (j *Journal) Reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Reset()
}

// Count is how often a text is in it.
func (j *Journal) Count(text string) int { return strings.Count(j.String(), text) }
