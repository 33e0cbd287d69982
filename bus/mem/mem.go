// Package mem is a broker in memory, for tests and for everything that need not outlive the process.
//
// In: records. Out: deliveries, to members of groups and to replays, as bus/driver says.
// It promises the whole contract but durability: records live as long as a Driver of the broker is referred to.
// It never touches the operating system and has no goroutine of its own, so it works inside testing/synctest.
package mem

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Options are the limits of a broker; the zero value is what New() uses.
type Options struct {
	// MaxRecord bounds a record: its value, header names and header values in bytes; 0 is 1 MiB less 16 KiB.
	MaxRecord int
	// Window is the default of Subscription.Window; 0 is 1024 records.
	Window int
	// Handover is how long an owner may finish what it was given when its partition is to move; 0 is 5 s.
	Handover time.Duration
	// Dedupe is how long an ID is remembered; 0 is 2 min.
	Dedupe time.Duration
}

func (o Options) withDefaults() Options {
	if o.MaxRecord == 0 {
		o.MaxRecord = 1<<20 - 16<<10
	}
	if o.Window == 0 {
		o.Window = 1024
	}
	if o.Handover == 0 {
		o.Handover = 5 * time.Second
	}
	if o.Dedupe == 0 {
		o.Dedupe = 2 * time.Minute
	}
	return o
}

// broker is what all drivers of it share.
type broker struct {
	mu      sync.Mutex
	options Options
	topics  map[string]*topic
	members int // How many owners there ever were: it names them.
}

// Driver is one connection to a broker: what its feeds own goes to others when it closes.
type Driver struct {
	b      *broker
	feeds  map[member]struct{} // Under b.mu.
	closed bool                // Under b.mu.
}

// member is a feed as its driver sees it.
type member interface {
	driver.Feed
	// lose takes everything from the feed as if it had been silent for too long. Under b.mu.
	lose()
	// shut gives up everything and ends Next. Under b.mu.
	shut()
}

var (
	_ driver.Driver    = (*Driver)(nil)
	_ driver.Sizer     = (*Driver)(nil)
	_ driver.Inspector = (*Driver)(nil)
)

// New makes an empty broker and the first connection to it; of several Options the last counts.
func New(options ...Options) *Driver {
	var o Options
	for _, o = range options {
	}
	b := &broker{options: o.withDefaults(), topics: map[string]*topic{}}
	return &Driver{b: b, feeds: map[member]struct{}{}}
}

// Open makes another connection to the same broker, also after d was closed: another member, or the same program
// after a restart.
func (d *Driver) Open() *Driver { return &Driver{b: d.b, feeds: map[member]struct{}{}} }

// Lose makes the broker give the partitions and the work of all feeds of d to others, as if d had been paused for longer
// than its leases. Owners learn it from Next, and join again by calling it once more.
func (d *Driver) Lose() {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	for f := range d.feeds {
		f.lose()
	}
}

// Remove takes away all that a topic holds, and makes it anew: as if somebody had removed it from the broker, and a driver
// had come upon that.
func (d *Driver) Remove(topic string) {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	if t := d.b.topics[topic]; t != nil {
		t.restart()
	}
}

// Forget takes away how far the groups of all topics came: as if somebody had removed that from the broker, and a driver had
// come upon it. Owners begin later epochs where their groups began first.
func (d *Driver) Forget() {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	for _, t := range d.b.topics {
		t.forget()
	}
}

// Ensure implements driver.Driver.
func (d *Driver) Ensure(ctx context.Context, topics []driver.Topic) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ensure topics: %w", err)
	}
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	if d.closed {
		return fmt.Errorf("ensure topics: %w", driver.ErrClosed)
	}
	return driver.EnsureEach(topics, func(want driver.Topic) error {
		if want.Name == "" || want.Partitions < 1 {
			return fmt.Errorf("a topic needs a name and at least one partition, got %q and %d", want.Name, want.Partitions)
		}
		if have, ok := d.b.topics[want.Name]; !ok {
			d.b.topics[want.Name] = newTopic(d.b, want)
		} else if have.Kind != want.Kind || have.Partitions != want.Partitions {
			return driver.Differs(fmt.Errorf("wanted kind %d with %d partitions, found kind %d with %d", want.Kind, want.Partitions, have.Kind, have.Partitions))
		}
		return nil
	})
}

// Publish implements driver.Driver. Here all records are stored or none.
func (d *Driver) Publish(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	if d.closed {
		return fmt.Errorf("publish: %w", driver.ErrClosed)
	}
	adds := map[*topic]int64{}
	for i := range records {
		r := &records[i]
		t := d.b.topics[r.Topic]
		switch {
		case t == nil:
			return fmt.Errorf("publish to %s: %w", r.Topic, driver.ErrNoTopic)
		case r.Partition < 0 || r.Partition >= t.Partitions:
			return fmt.Errorf("publish to %s: partition %d of %d", r.Topic, r.Partition, t.Partitions)
		case strings.IndexByte(r.Key, 0) >= 0:
			return fmt.Errorf("publish to %s: key %q has a NUL", r.Topic, r.Key)
		case payload(r) > d.b.options.MaxRecord:
			return fmt.Errorf("publish %s to %s: %d bytes of at most %d: %w", r.Key, r.Topic, payload(r), d.b.options.MaxRecord, driver.ErrTooLarge)
		}
		adds[t] += size(r)
	}
	if fence != nil && !d.holds(fence) {
		return fmt.Errorf("publish under epoch %d of %s/%d for %s: %w", fence.Epoch, fence.Topic, fence.Partition, fence.Group, driver.ErrFenced)
	}
	now := time.Now()
	for t, n := range adds {
		t.expire(now)
		if !t.DropOldest && t.MaxBytes > 0 && t.bytes+n > t.MaxBytes && !t.fits(records) {
			return fmt.Errorf("publish to %s: %d of %d bytes used: %w", t.Name, t.bytes, t.MaxBytes, driver.ErrFull)
		}
	}
	for i := range records {
		d.b.topics[records[i].Topic].append(&records[i], now)
	}
	for t := range adds {
		t.wake()
	}
	return nil
}

// holds says whether a feed of d owns the fence's partition in its epoch.
func (d *Driver) holds(f *driver.Fence) bool {
	t := d.b.topics[f.Topic]
	if t == nil || f.Partition < 0 || f.Partition >= t.Partitions {
		return false
	}
	g := t.groups[f.Group]
	if g == nil {
		return false
	}
	l := g.leases[f.Partition]
	return l.owner != nil && l.owner.d == d && l.epoch == f.Epoch
}

// Subscribe implements driver.Driver.
func (d *Driver) Subscribe(ctx context.Context, s driver.Subscription) (driver.Feed, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, err)
	}
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, driver.ErrClosed)
	}
	t := d.b.topics[s.Topic]
	if t == nil {
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, driver.ErrNoTopic)
	}
	if err := s.Check(t.Topic); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", s.Topic, err)
	}
	if s.Window == 0 {
		s.Window = d.b.options.Window
	}
	var m member
	switch {
	case s.Group == "":
		m = newReplay(d, t, s)
	case t.Kind == driver.Work:
		m = newWorker(d, t, s)
	default:
		m = newOwner(d, t, s)
	}
	d.feeds[m] = struct{}{}
	return m, nil
}

// Close implements driver.Driver. The broker lives on for other connections.
func (d *Driver) Close() error {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	d.closed = true
	for f := range d.feeds {
		f.shut()
	}
	clear(d.feeds)
	return nil
}
