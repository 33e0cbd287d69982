// Package inbox keeps pages in memory, for the demo, for tests and for a look at what was sent. In: pages. Out: a list,
// newest last, also as JSON over HTTP. It promises to fold a page that is handed over twice. It never keeps more than it
// was told to, and forgets everything with the process.
package inbox

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// Config of an inbox.
type Config struct {
	// Keep is how many pages it keeps; older ones are forgotten.
	Keep int `yaml:"keep"`
}

// Default keeps a thousand pages.
func Default() Config { return Config{Keep: 1000} }

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	if c.Keep < 1 || c.Keep > 1_000_000 {
		return []conf.Complaint{{Field: "keep", What: "keep is out of range", Do: "use 1 to 1000000"}}
	}
	return nil
}

// Entry is one page as it arrived.
type Entry struct {
	Page     event.Page `json:"page"`
	Received time.Time  `json:"received"`
	// Times is how often it was handed over: more than once after a crash in between.
	Times int `json:"times"`
}

// Inbox keeps the pages of one receiver. It is safe for concurrent use.
type Inbox struct {
	keep    int
	mu      sync.Mutex
	entries []*Entry
	arrived chan struct{} // Closed and replaced with every page.
}

func newInbox(keep int) *Inbox { return &Inbox{keep: keep, arrived: make(chan struct{})} }

// Notify implements notify.Notifier.
func (b *Inbox) Notify(_ context.Context, p *event.Page) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if e.Page.ID == p.ID {
			e.Times++
			return "folded", nil
		}
	}
	b.entries = append(b.entries, &Entry{Page: *p, Received: time.Now(), Times: 1})
	if len(b.entries) > b.keep {
		b.entries = slices.Delete(b.entries, 0, len(b.entries)-b.keep)
	}
	close(b.arrived)
	b.arrived = make(chan struct{})
	return "kept", nil
}

// Dedups implements notify.Notifier.
func (b *Inbox) Dedups() bool { return true }

// List returns the pages in the order of their arrival.
func (b *Inbox) List() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Entry, 0, len(b.entries))
	for _, e := range b.entries {
		all = append(all, *e)
	}
	return all
}

// Arrived returns a channel that is closed when the next page arrives.
func (b *Inbox) Arrived() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.arrived
}

// ServeHTTP answers GET with the list as JSON.
func (b *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "an inbox can only be read", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(b.List())
}

// Set is the inboxes of one process, by receiver. The zero Set is empty and ready to use, and safe for concurrent use.
type Set struct {
	mu    sync.Mutex
	boxes map[string]*Inbox
}

// New makes the inbox of a receiver; one of the same name lives on with its pages, so that a reload loses none.
func (s *Set) New(name string, c Config, _ notify.Env) (notify.Notifier, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.boxes[name]; b != nil {
		b.mu.Lock()
		b.keep = c.Keep
		b.mu.Unlock()
		return b, nil
	}
	if s.boxes == nil {
		s.boxes = map[string]*Inbox{}
	}
	b := newInbox(c.Keep)
	s.boxes[name] = b
	return b, nil
}

// Get returns the inbox of a receiver, nil when there is none.
func (s *Set) Get(name string) *Inbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boxes[name]
}
