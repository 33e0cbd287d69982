package alerting

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"kemi.dev/kemi/bus/event"
)

// receiver does what a script says to each attempt.
type receiver struct {
	mu     sync.Mutex
	does   func(ctx context.Context, attempt int, p *event.Page) error
	tries  map[string]int
	took   []*event.Page
	tookAt []time.Time
}

func (r *receiver) Dedups() bool { return false }

func (r *receiver) Notify(ctx context.Context, p *event.Page) (string, error) {
	r.mu.Lock()
	if r.tries == nil {
		r.tries = map[string]int{}
	}
	r.tries[p.ID]++
	n := r.tries[p.ID]
	r.mu.Unlock()
	if err := r.does(ctx, n, p); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took, r.tookAt = append(r.took, p), append(r.tookAt, time.Now())
	return "ok", nil
}

// all is what it took, and when.
func (r *receiver) all() ([]*event.Page, []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.took), slices.Clone(r.tookAt)
}

// attempts is how often each page was tried.
func (r *receiver) attempts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.tries)
}
