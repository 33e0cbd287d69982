// Package run starts the parts of a process in order and stops them in the other.
//
// In: named functions that block until their context ends. Out: the first error of any of them.
// It promises that listeners are up before sources begin and that sources fall silent before listeners leave, so
// that nothing is in flight without an ear. It never restarts anything.
package run

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Group is an ordered set of parts. The zero Group is ready to use.
type Group struct {
	parts []part
	// Grace bounds how long one part may take to stop before the next is told to; 0 is 10 s.
	Grace time.Duration
}

type part struct {
	name  string
	run   func(context.Context) error
	ready <-chan struct{}
}

// Add appends a part: it starts after those before it and stops before them. run blocks and returns nil when its
// context ends. A part with a ready channel holds back those after it until the channel is closed.
func (g *Group) Add(name string, run func(context.Context) error, ready ...<-chan struct{}) {
	p := part{name: name, run: run}
	if len(ready) > 0 {
		p.ready = ready[0]
	}
	g.parts = append(g.parts, p)
}

// Run starts every part and blocks until ctx ends or a part returns; then it stops the rest, last first. A part
// that returns nil before it was asked to ends the group too.
func (g *Group) Run(ctx context.Context) error {
	grace := g.Grace
	if grace == 0 {
		grace = 10 * time.Second
	}
	type outcome struct {
		index int
		err   error
	}
	left := make(chan outcome, len(g.parts))
	cancels := make([]context.CancelFunc, 0, len(g.parts))
	gone := make([]chan struct{}, len(g.parts))
	var errs []error
	note := func(o outcome) {
		if o.err != nil && !errors.Is(o.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", g.parts[o.index].name, o.err))
		}
	}

	stopped := false
	for i, p := range g.parts {
		// Parts outlive ctx: they are stopped one by one below, not all at once.
		pctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancels = append(cancels, cancel)
		gone[i] = make(chan struct{})
		go func() {
			err := p.run(pctx)
			close(gone[i])
			left <- outcome{i, err}
		}()
		if p.ready == nil {
			continue
		}
		select {
		case <-p.ready:
			continue
		case o := <-left:
			note(o)
		case <-ctx.Done():
		}
		stopped = true
		break
	}
	if !stopped {
		select {
		case o := <-left:
			note(o)
		case <-ctx.Done():
		}
	}
	for i := len(cancels) - 1; i >= 0; i-- {
		cancels[i]()
		select {
		case <-gone[i]:
		case <-time.After(grace):
			errs = append(errs, fmt.Errorf("%s: did not stop within %s", g.parts[i].name, grace))
		}
	}
	for {
		select {
		case o := <-left:
			note(o)
		default:
			return errors.Join(errs...)
		}
	}
}
