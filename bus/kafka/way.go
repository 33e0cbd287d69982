package kafka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// A broker that is gone is asked for by everybody at once: each partition that is read, each that is written, each group.
// What one of them finds out holds for all. So there is one way to each address, and whoever needs a connection waits on
// it: while the broker refuses, one attempt at a time is made for all, with a back-off; while it is slow, as a broker is
// that was just started and has to sign a TLS handshake for each connection of everybody, a few attempts are under way
// and none is given up early, for what a handshake cost the broker would be lost and be asked for again.

// paces are the times and counts of a way.
type paces struct {
	least, most time.Duration // The back-off after the first failure, and after many.
	hurry       time.Duration // After so long an attempt is begun beside one that has not ended, when it is not known that the broker is well.
	patience    time.Duration // How long a request waits for a connection to a broker that is believed to be well.
	doubt       time.Duration // How long to one that is not.
	limit       time.Duration // How long an attempt takes at most.
	spare       time.Duration // How long a connection is kept that came when nobody waited any more.
	together    int           // How many attempts are under way at most.
}

// pacesOf are those of a cluster. With TLS or a login an attempt is dear to the broker, and has long; without it is cheap.
func (d *Driver) pacesOf() paces {
	p := paces{
		least: d.tuning.again, most: 2 * time.Second, hurry: 3 * time.Second, patience: 2 * time.Second, doubt: 300 * time.Millisecond,
		limit: 5 * time.Second, spare: 10 * time.Second, together: 4,
	}
	if d.config.TLS != nil || d.config.SASL.Mechanism != "" {
		p.limit = 15 * time.Second
	}
	return p
}

// way is how the whole process comes to one address.
type way struct {
	address string
	paces   paces
	life    context.Context
	make    func(ctx context.Context, address string) (net.Conn, error)

	mu      sync.Mutex
	waiting []chan arrival
	spares  []spare
	busy    int       // Attempts under way.
	fails   int       // One after the other.
	next    time.Time // No attempt begins before, while the broker is not known to be well.
	last    error     // Of the last attempt that failed.
}

// arrival is what came of an attempt.
type arrival struct {
	conn net.Conn
	err  error
}

type spare struct {
	conn net.Conn
	at   time.Time
}

// ways are all ways of a process.
type ways struct {
	paces paces
	make  func(ctx context.Context, address string) (net.Conn, error)
	life  context.Context
	quit  context.CancelFunc

	mu sync.Mutex
	to map[string]*way
}

func newWays(p paces, dial func(context.Context, string) (net.Conn, error)) *ways {
	w := &ways{paces: p, make: dial, to: map[string]*way{}}
	w.life, w.quit = context.WithCancel(context.Background())
	return w
}

// dial returns a connection on which the broker has answered and knows who we are.
func (w *ways) dial(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	one := w.to[address]
	if one == nil {
		one = &way{address: address, paces: w.paces, life: w.life, make: w.make}
		w.to[address] = one
	}
	w.mu.Unlock()
	return one.dial(ctx)
}

// close ends what is under way.
func (w *ways) close() {
	w.quit()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.to {
		one.prune()
	}
}

func (w *way) dial(ctx context.Context) (net.Conn, error) {
	mine := make(chan arrival, 1)
	w.mu.Lock()
	if n := len(w.spares); n > 0 {
		c := w.spares[n-1].conn
		w.spares = w.spares[:n-1]
		w.mu.Unlock()
		return c, nil
	}
	w.waiting = append(w.waiting, mine)
	patience := w.paces.patience
	if w.fails > 0 {
		patience = w.paces.doubt
	}
	w.mu.Unlock()
	over := time.NewTimer(patience)
	defer over.Stop()
	var err error
	for err == nil {
		wait := w.begin()
		soon := time.NewTimer(wait)
		select {
		case got := <-mine:
			soon.Stop()
			return got.conn, got.err
		case <-soon.C:
		case <-over.C:
			err = w.why()
		case <-ctx.Done():
			err = ctx.Err()
		case <-w.life.Done():
			err = driver.ErrClosed
		}
		soon.Stop()
	}
	w.mu.Lock()
	w.waiting = slices.DeleteFunc(w.waiting, func(c chan arrival) bool { return c == mine })
	w.mu.Unlock()
	select {
	case got := <-mine: // It came in the last moment.
		return got.conn, got.err
	default:
		return nil, err
	}
}

// why is what is known of a broker to which there is no connection yet.
func (w *way) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != nil && w.fails > 0 {
		return w.last
	}
	return fmt.Errorf("connect to %s: it has not answered yet", w.address)
}

// begin begins an attempt when one is needed and may be made, and returns when to ask again.
func (w *way) begin() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.life.Err() != nil || w.busy >= min(w.paces.together, len(w.waiting)) {
		return w.paces.hurry
	}
	if w.fails > 0 {
		if wait := w.next.Sub(now); wait > 0 {
			return wait
		}
		w.next = now.Add(w.paces.hurry)
	}
	w.busy++
	go w.attempt()
	return w.paces.hurry
}

// attempt makes one connection, for whoever waited longest when it is there.
func (w *way) attempt() {
	ctx, cancel := context.WithTimeout(w.life, w.paces.limit)
	defer cancel()
	c, err := w.make(ctx, w.address)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	if err != nil {
		// More than one may have been under way when the broker went: together they are one failure.
		if now := time.Now(); w.fails == 0 || !now.Before(w.next) || w.busy == 0 {
			w.fails++
			w.next = now.Add(w.backOff())
		}
		w.last = err
		for _, one := range w.waiting {
			one <- arrival{err: err}
		}
		w.waiting = nil
		return
	}
	w.fails, w.last = 0, nil
	switch {
	case len(w.waiting) > 0:
		w.waiting[0] <- arrival{conn: c}
		w.waiting = w.waiting[1:]
	case w.life.Err() != nil:
		c.Close()
	default:
		w.spares = append(w.spares, spare{c, time.Now()})
		time.AfterFunc(w.paces.spare, w.prune)
	}
	for w.busy < min(w.paces.together, len(w.waiting)) && w.life.Err() == nil {
		w.busy++
		go w.attempt()
	}
}

// backOff doubles with each failure. Processes that lost the same broker must not come back in step.
func (w *way) backOff() time.Duration {
	d := min(w.paces.least<<min(w.fails-1, 16), w.paces.most)
	return d*3/4 + rand.N(d/2+1)
}

// prune closes the connections that nobody came for.
func (w *way) prune() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spares = slices.DeleteFunc(w.spares, func(s spare) bool {
		old := w.life.Err() != nil || time.Since(s.at) >= w.paces.spare
		if old {
			s.conn.Close()
		}
		return old
	})
}
