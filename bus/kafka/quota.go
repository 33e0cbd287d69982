package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"kemi.dev/kemi/bus/driver"
)

// lookEvery is how old the size of a topic may be that is published to.
const lookEvery = time.Second

// quota knows how full a topic is that refuses. Kafka refuses nothing for its size, so the driver does.
type quota struct {
	mu     sync.Mutex
	looked time.Time
	used   int64 // As the brokers said.
	since  int64 // What was published here after that.
	blind  bool  // The brokers do not say.

	// asking is held by whoever asks the brokers; nobody who has room waits for the answer.
	asking chan struct{}
	latest *census // The asker's.
}

// book notes bytes that are about to be published, when there is room for them; stale says that it is time to ask again.
func (q *quota) book(bytes, most int64) (booked, stale bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.blind {
		return true, false
	}
	if booked = q.used+q.since+bytes <= most; booked {
		q.since += bytes
	}
	return booked, time.Since(q.looked) > lookEvery
}

// weigh is about how many bytes a record takes.
func weigh(r *driver.Record) int64 {
	n := int64(len(r.Key) + len(r.Value) + len(r.ID) + 20)
	for i := range r.Headers {
		n += int64(len(r.Headers[i].Name) + len(r.Headers[i].Value) + 2)
	}
	return n
}

// admit refuses records that a topic has no room for. Kafka adds what else is published meanwhile: the limit is overrun by
// what other processes publish in a second.
func (d *Driver) admit(ctx context.Context, records []driver.Record) error {
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].Topic == records[0].Topic {
			n++
		}
		t, err := d.topic(ctx, records[0].Topic)
		if err == nil && t.MaxBytes > 0 && !t.DropOldest {
			err = d.fits(ctx, t, records[:n])
		}
		if err != nil {
			return fmt.Errorf("publish %d to %s: %w", n, records[0].Topic, err)
		}
		records = records[n:]
	}
	return nil
}

func (d *Driver) fits(ctx context.Context, t *topic, records []driver.Record) error {
	var bytes int64
	for i := range records {
		bytes += weigh(&records[i])
	}
	q := &t.quota
	booked, stale := q.book(bytes, t.MaxBytes)
	if booked {
		if stale {
			d.askAside(t)
		}
		return nil
	}
	select {
	case q.asking <- struct{}{}:
		defer func() { <-q.asking }()
	case <-ctx.Done():
		return fmt.Errorf("ask how full it is: %w", ctx.Err())
	}
	if err := d.ask(ctx, t); err != nil {
		return explain(err)
	}
	if booked, _ := q.book(bytes, t.MaxBytes); booked {
		return nil
	}
	if t.Kind == driver.Latest {
		if q.latest == nil || q.latest.era != t.era() {
			q.latest = newCensus(d, t)
		}
		if err := q.latest.follow(ctx); err != nil {
			return err
		}
		if q.latest.admits(records, t.MaxBytes) {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.since += bytes
			return nil
		}
	}
	still := ""
	if t.Kind == driver.Latest {
		still = "; what it holds can be changed and ended all the same"
	}
	return fmt.Errorf("%d bytes more than there is room for in %d%s: %w", bytes, t.MaxBytes, still, driver.ErrFull)
}

// askAside asks the brokers how full a topic is while publishing goes on, unless somebody is asking already.
func (d *Driver) askAside(t *topic) {
	q := &t.quota
	select {
	case q.asking <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-q.asking }()
		ctx, cancel := context.WithTimeout(context.Background(), d.tuning.answer)
		defer cancel()
		if err := d.ask(ctx, t); err != nil && !d.isClosed() {
			d.scope.Log().Debug("ask how full a topic is", "topic", t.Name, "err", explain(err))
		}
	}()
}

// ask asks the brokers how full a topic is.
func (d *Driver) ask(ctx context.Context, t *topic) error {
	q := &t.quota
	used, err := d.used(ctx, t)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case errors.Is(err, kafkago.ClusterAuthorizationFailed):
		q.blind = true
		d.blind()
		return nil
	case err != nil:
		q.looked = time.Now() // Not again at once.
		return err
	}
	q.used, q.since, q.looked = used, 0, time.Now()
	return nil
}

// used is how many bytes a topic has on the disks of those who lead its partitions.
func (d *Driver) used(ctx context.Context, t *topic) (int64, error) {
	var total int64
	err := d.insist(ctx, func() error {
		total = 0
		byLeader := map[int32][]int{}
		for p := range t.parts {
			node, err := d.link.leader(ctx, t.name, p)
			if err != nil {
				return err
			}
			byLeader[node] = append(byLeader[node], p)
		}
		for node, partitions := range byLeader {
			n, err := d.usedAt(ctx, node, t, partitions)
			if err != nil {
				d.link.stale(t.name)
				return fmt.Errorf("ask how large %s is: %w", t.name, err)
			}
			total += n
		}
		return nil
	})
	return total, err
}

func (d *Driver) usedAt(ctx context.Context, node int32, t *topic, partitions []int) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, d.tuning.answer)
	defer cancel()
	m := d.link.newMessage(protocol.DescribeLogDirs, versionLogDirs, node, 4*len(partitions))
	m.length(1)
	m.text(t.name)
	m.length(len(partitions))
	for _, p := range partitions {
		m.int32(int32(p))
	}
	answer, err := d.link.send(ctx, m)
	if err != nil {
		return 0, err
	}
	return parseLogDirs(answer)
}

// parseLogDirs adds up the sizes in an answer; a copy that is on its way to another disk does not count.
func parseLogDirs(p *parser) (total int64, err error) {
	_ = p.int32()
	disks := 0
	for range p.length(8) {
		disks++
		code := kafkago.Error(p.int16())
		_ = p.text()
		for range p.length(6) {
			_ = p.text()
			for range p.length(21) {
				_ = p.int32()
				size := p.int64()
				_ = p.int64()
				if future := p.int8(); future == 0 {
					total += size
				}
			}
		}
		if code != 0 && err == nil {
			err = code
		}
	}
	if disks == 0 && err == nil && !p.bad { // Every broker has one; this is how it says that it must not tell.
		err = kafkago.ClusterAuthorizationFailed
	}
	return total, errors.Join(p.err(), err)
}

// blind tells once that the brokers do not say how large topics are.
func (d *Driver) blind() {
	d.blinded.Do(func() {
		d.scope.Log().Warn("the brokers do not say how large topics are, so that no size is known and none refuses when it is full: allow Describe on the cluster")
	})
}

// weighable looks whether the brokers say how large topics are.
func (d *Driver) weighable(ctx context.Context, t *topic) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := d.used(ctx, t); errors.Is(err, kafkago.ClusterAuthorizationFailed) {
		d.blind()
	}
}

// Size implements driver.Sizer.
func (d *Driver) Size(ctx context.Context, name string) (used, limit int64, err error) {
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return 0, 0, fmt.Errorf("size of %s: %w", name, err)
	}
	t, err := d.topic(ctx, name)
	if err == nil {
		used, err = d.used(ctx, t)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("size of %s: %w", name, err)
	}
	return used, t.MaxBytes, nil
}
