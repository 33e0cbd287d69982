package mem

import (
	"context"
	"fmt"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// work is how far a group came in a Work topic.
type work struct {
	cursors []int64
	tasks   map[int64]*task
}

// task is a record that was delivered at least once and is not acknowledged.
type task struct {
	s       *stored
	attempt int
	with    *worker   // Who has it; nil when it waits.
	due     time.Time // When it is delivered again; zero while a member has it for as long as it lives.
}

// worker is a member's feed of a Work topic.
type worker struct {
	*feed
	w    *work
	open int
}

func newWorker(d *Driver, t *topic, s driver.Subscription) *worker {
	g := t.group(s.Group)
	if g.work == nil {
		g.work = &work{tasks: map[int64]*task{}, cursors: make([]int64, t.Partitions)}
		for p := range g.work.cursors {
			g.work.cursors[p] = t.begin(p, s.Start)
		}
	}
	return &worker{feed: newFeed(d, t, s), w: g.work}
}

// Next implements driver.Feed.
func (w *worker) Next(ctx context.Context) ([]driver.Delivery, error) {
	return w.wait(ctx, func(now time.Time) ([]driver.Delivery, time.Duration) {
		var out []driver.Delivery
		room := func() bool { return len(out) < atOnce && w.open < w.s.Window }
		var again time.Duration
		for _, k := range w.w.tasks {
			if k.with != nil && k.due.IsZero() {
				continue
			}
			left := k.due.Sub(now)
			switch {
			case left > 0:
				if again == 0 || left < again {
					again = left
				}
			case room():
				w.back(k)
				out = append(out, w.take(k, now))
			default:
				w.back(k) // Others may take it.
			}
		}
		for room() {
			var first *stored
			for p, c := range w.w.cursors {
				if s := w.t.next(p, c, 0); s != nil && (first == nil || s.position < first.position) {
					first = s
				}
			}
			if first == nil {
				break
			}
			w.w.cursors[first.record.Partition] = first.position + 1
			k := &task{s: first}
			w.w.tasks[first.position] = k
			out = append(out, w.take(k, now))
		}
		return out, again
	})
}

func (w *worker) take(k *task, now time.Time) driver.Delivery {
	k.with, k.attempt, k.due = w, k.attempt+1, time.Time{}
	if w.s.Redeliver > 0 {
		k.due = now.Add(w.s.Redeliver)
	}
	w.open++
	d := delivery(k.s)
	d.Attempt = k.attempt
	return d
}

// back takes a task from whoever has it.
func (w *worker) back(k *task) {
	if k.with != nil {
		k.with.open--
		k.with = nil
	}
}

// Ack implements driver.Feed. A late one still counts: the work was done.
func (w *worker) Ack(_ context.Context, d driver.Delivery) error {
	w.d.b.mu.Lock()
	defer w.d.b.mu.Unlock()
	if err := w.ackable(); err != nil || d.Event != driver.Data {
		return err
	}
	if k := w.w.tasks[d.Position]; k != nil {
		if k.with != nil {
			k.with.nudge() // It has room again.
		}
		w.back(k)
		delete(w.w.tasks, d.Position)
	}
	return nil
}

// Nack implements driver.Feed. One that another member has meanwhile is left alone.
func (w *worker) Nack(_ context.Context, d driver.Delivery, after time.Duration) error {
	w.d.b.mu.Lock()
	defer w.d.b.mu.Unlock()
	if w.closed {
		return fmt.Errorf("give back %s: %w", w.t.Name, driver.ErrClosed)
	}
	if k := w.w.tasks[d.Position]; k != nil && k.with == w && k.attempt == d.Attempt {
		w.back(k)
		k.due = time.Now().Add(after)
		w.t.wake()
	}
	return nil
}

// Close implements driver.Feed.
func (w *worker) Close() error {
	w.d.b.mu.Lock()
	defer w.d.b.mu.Unlock()
	w.shut()
	delete(w.d.feeds, w)
	return nil
}

// shut gives back at once what was not acknowledged.
func (w *worker) shut() {
	if w.end() {
		w.lose()
	}
}

// lose gives what was not acknowledged to others. What the member acknowledges all the same counts.
func (w *worker) lose() {
	for _, k := range w.w.tasks {
		if k.with == w {
			w.back(k)
			k.due = time.Time{}
		}
	}
	w.t.wake()
}
