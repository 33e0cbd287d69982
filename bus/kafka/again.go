package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// A broker may come back with an empty disk, and a topic may be removed under a running Kemi, and made anew by anybody.
// What was in it is lost; what must not be lost is that work goes on. So what was ensured here is made again, loudly, and
// a log that began anew is read from its beginning: by an owner in a new epoch.

// topicID is what Kafka calls a topic beside its name: one that is made anew has another. It is zero where the brokers
// are older than 2.8 and have none; then a log that began anew is known by being shorter than what was read of it.
// Source: KIP-516.
type topicID [16]byte

// life is the logs that a name stood for, one after the other.
type life struct {
	eras atomic.Uint64 // Grows when the log began anew.
	// Guarded by the driver's mutex:
	ids  []topicID // The newest is the last one.
	told bool      // It was said that the newest is gone.
	seen bool      // A broker has said that it is there.
}

// era is which log the name of the topic stands for.
func (t *topic) era() uint64 {
	if t.life == nil {
		return 0
	}
	return t.life.eras.Load()
}

// lifeOf is the life of a topic of Kafka's.
func (d *Driver) lifeOf(name string) *life {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lives == nil {
		d.lives = map[string]*life{d.registry(): {}}
	}
	if d.lives[name] == nil {
		d.lives[name] = &life{}
	}
	return d.lives[name]
}

// lookAfter looks whether the brokers are there and all topics with them, and makes again what is gone, until ctx ends.
func (d *Driver) lookAfter(ctx context.Context) {
	clock := time.NewTicker(d.tuning.layout)
	defer clock.Stop()
	log := d.scope.Log()
	var had trouble
	away := time.Time{}
	for {
		err := d.restore(ctx)
		switch health := d.link.health(); {
		case ctx.Err() != nil:
			return
		case health != nil && away.IsZero():
			away = time.Now()
			log.Warn("the brokers are away: what needs them waits until they are back", "brokers", d.where(), "err", health)
		case health == nil && !away.IsZero():
			log.Info("the brokers are back", "brokers", d.where(), "after", time.Since(away).Round(time.Second).String())
			away = time.Time{}
		}
		if err == nil {
			had = trouble{}
		} else if away.IsZero() {
			had.tell(log, "look whether all topics are there", err)
		}
		// Many notice at once; those that still come upon the old state need no answer.
		if !pause.For(ctx, 5*d.tuning.again) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		case <-d.link.missing:
		}
	}
}

// restore makes again what was ensured and is not there any more.
func (d *Driver) restore(ctx context.Context) error {
	missing, err := d.identify(ctx)
	if err == nil && len(missing) > 0 && pause.For(ctx, 10*d.tuning.again) {
		// A broker that was just started may not have known yet.
		var still []string
		still, err = d.identify(ctx)
		missing = slices.DeleteFunc(missing, func(name string) bool { return !slices.Contains(still, name) })
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	var wanted []driver.Topic
	registry := slices.Contains(missing, d.registry())
	for _, want := range d.wanted {
		if registry || slices.Contains(missing, d.config.Prefix+"."+want.Name) {
			wanted = append(wanted, want)
		}
	}
	missing = slices.DeleteFunc(missing, func(name string) bool {
		_, ours := d.wanted[strings.TrimPrefix(name, d.config.Prefix+".")]
		return !ours && name != d.registry()
	})
	was := d.gone
	d.gone = nil
	// One that was just made, and that no broker has shown yet, is not lost. Making it again does no harm.
	lost := slices.DeleteFunc(slices.Clone(missing), func(name string) bool { return !d.lives[name].seen })
	if len(wanted) > 0 && len(lost) > 0 {
		if d.gone = was; was == nil {
			d.gone = fmt.Errorf("kafka has lost topics: %s are being made again", strings.Join(lost, ", "))
			for _, name := range lost {
				d.lives[name].told = true
			}
		}
	}
	now := d.gone
	d.mu.Unlock()
	if len(wanted) == 0 || len(missing) == 0 {
		return nil
	}
	if now != nil && was == nil {
		d.scope.Log().Error("topics are gone with all they held, they are made again", "topics", strings.Join(lost, ","))
	}
	ctx, cancel := context.WithTimeout(ctx, d.tuning.patience)
	defer cancel()
	entries, err := d.openRegistry(ctx)
	for _, want := range wanted {
		if err != nil {
			break
		}
		if err = d.ensure(ctx, want, entries[want.Name]); err != nil {
			err = fmt.Errorf("make %s again: %w", want.Name, explain(err))
		}
	}
	d.mu.Lock()
	if d.gone = nil; err != nil {
		d.gone = fmt.Errorf("kafka has lost topics, among them %s: %w", missing[0], err)
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if now != nil {
		d.scope.Log().Warn("the topics are there again, and empty", "topics", strings.Join(lost, ","))
	}
	_, err = d.identify(ctx)
	return err
}

// identify asks which logs the names of all topics stand for, and returns the names that stand for none. Who reads a log
// that began anew learns it by the era.
func (d *Driver) identify(ctx context.Context) (missing []string, err error) {
	d.identifying.Lock()
	defer d.identifying.Unlock()
	d.mu.Lock()
	names := slices.Sorted(maps.Keys(d.lives))
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, usual)
	defer cancel()
	found, err := d.link.identities(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("ask which topics there are: %w", err)
	}
	var anew []string
	d.mu.Lock()
	for _, name := range names {
		id, there := found[name]
		l := d.lives[name]
		l.seen = l.seen || there
		switch {
		case !there:
			missing = append(missing, name)
		case id == topicID{}, slices.Contains(l.ids, id): // A former one is what a broker says that is late.
		case len(l.ids) == 0:
			l.ids = []topicID{id}
		default:
			l.ids = append(l.ids, id)
			l.eras.Add(1)
			d.link.stale(name)
			topic, ours := strings.CutPrefix(name, d.config.Prefix+".")
			if ours {
				d.lost.WithLabelValues(topic).Inc()
			}
			if ours && !l.told {
				anew = append(anew, name)
			}
			l.told = false
		}
	}
	d.mu.Unlock()
	if len(anew) > 0 {
		d.scope.Log().Error("topics were removed and made anew: what they held is lost, they are read from their beginning", "topics", strings.Join(anew, ","))
	}
	return missing, nil
}

// versionMetadata is of Kafka 2.8: it tells the identities of topics.
const versionMetadata = 10

// identities asks which of the topics are there; one that may not be seen is.
func (l *link) identities(ctx context.Context, names []string) (map[string]topicID, error) {
	out := map[string]topicID{}
	if !l.identifies {
		res, err := l.ask(ctx, anyone, &metadata.Request{TopicNames: names})
		if err != nil {
			return nil, err
		}
		for _, t := range res.(*metadata.Response).Topics {
			if kafkago.Error(t.ErrorCode) != kafkago.UnknownTopicOrPartition {
				out[t.Name] = topicID{}
			}
		}
		return out, nil
	}
	m := l.newMessage(protocol.Metadata, versionMetadata, anyone, 64*len(names))
	m.tags()
	m.compact(len(names))
	for _, name := range names {
		m.data = append(m.data, make([]byte, len(topicID{}))...)
		m.compact(len(name))
		m.data = append(m.data, name...)
		m.tags()
	}
	m.int8(0) // Make none.
	m.int8(0) // What may be done with the cluster and the topics is not asked.
	m.int8(0)
	m.tags()
	p, err := l.send(ctx, m)
	if err != nil {
		return nil, err
	}
	return out, parseIdentities(p, out)
}

// parseIdentities reads the answer. Every list and text in it is compact.
func parseIdentities(p *parser, out map[string]topicID) error {
	p.skipTags()
	_ = p.int32() // How long we are held back.
	for range p.compact(12) {
		_ = p.int32()
		_ = p.take(p.compact(1))
		_ = p.int32()
		_ = p.take(p.compact(1))
		p.skipTags()
	}
	_ = p.take(p.compact(1))
	_ = p.int32()
	for range p.compact(25) {
		code := kafkago.Error(p.int16())
		name := string(p.take(p.compact(1)))
		var id topicID
		copy(id[:], p.take(len(id)))
		_ = p.int8()
		for range p.compact(18) {
			_ = p.take(2 + 4 + 4 + 4)
			for range 3 {
				_ = p.take(4 * p.compact(4))
			}
			p.skipTags()
		}
		_ = p.int32()
		p.skipTags()
		if code != kafkago.UnknownTopicOrPartition {
			out[name] = id
		}
	}
	_ = p.int32()
	p.skipTags()
	return p.err()
}

// errAnew is said in the midst of a snapshot of a log that began anew.
var errAnew = errors.New("the log began anew")

// anew begins with the first record of a log that is another than it was.
func (r *reader) anew(era uint64) {
	r.era, r.next, r.hole, r.damaged, r.near, r.went = era, 0, 0, 0, nil, false
	r.begun++
	if r.tell != nil {
		r.tell()
	}
}

// renew ends an epoch because the log began anew. The next one begins with the first record of the new log.
func (m *member) renew(l *lease) {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	if l.lost {
		return
	}
	m.over(l)
	m.past[l.partition] = beginning{mark: mark{epoch: l.epoch}, anew: true}
	if !slices.Contains(m.fresh, l.partition) {
		m.fresh = append(m.fresh, l.partition)
	}
	signal(m.kick)
}
