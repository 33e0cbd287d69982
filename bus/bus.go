// Package bus is the hallway between the rooms: it carries events over a broker.
//
// In: events (bus/event), published by one room. Out: the same events, handed to every group that consumes them.
// It promises at-least-once delivery, in order per route to one owner at a time, or to any worker for jobs; what
// cannot be handled goes to dead.v1 with the reason and the original bytes. It does retry, dead letters, encoding,
// compression and metrics once for all brokers; bus/driver says what is left to a broker.
// It never drops a record silently and never decides what an event means.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/obs"
)

// The topics that are the bus's own.
var (
	topicDead  = event.Topic{Name: "dead.v1", Word: "dev.kemi.dead.v1", Partitions: 1, Keep: 30 * 24 * time.Hour, MaxBytes: 256 << 20, DropOldest: true}
	topicState = event.Topic{Name: "state.v1", Word: "dev.kemi.state.v1", Kind: event.Latest, Partitions: 4, MaxBytes: 1 << 30}
)

// TopicDead and TopicState name the bus's own topics: what could not be handled, and what desks know.
const (
	TopicDead  = "dead.v1"
	TopicState = "state.v1"
)

// Header names on records.
const (
	headerWord     = "kemi-word"
	headerType     = "content-type"
	headerEncoding = "content-encoding"
	headerRoute    = "kemi-route"
)

// history is how many records of a key stay on a keep-latest topic that keeps for a time and refuses when it is full:
// enough to see how the thing came to be as it is, and far from filling the topic with what was replaced.
const history = 16

// compressFrom is the size in bytes from which compression pays.
const compressFrom = 1024

// Bus carries events over one broker. It is safe for concurrent use.
type Bus struct {
	d        driver.Driver
	settings Settings
	topics   map[string]event.Topic
	scope    obs.Scope

	published *prometheus.CounterVec
	failed    *prometheus.CounterVec
	handled   *prometheus.CounterVec
	retried   *prometheus.CounterVec
	dead      *prometheus.CounterVec
	skipped   *prometheus.CounterVec
	delay     *prometheus.GaugeVec
	sizer     driver.Sizer // Nil when the driver is none.
	sizes     map[string]*size
	owned     places
	stuck     stuck
	decoded   *decoded
	retries   obs.Seldom // What subscribe says of what it tries again.
}

// Settings say what of the topics is not the same everywhere.
type Settings struct {
	// Zones that there are jobs for; none is event.DefaultZone.
	Zones []string
	// Installation names the one Kemi that the topics belong to: a bus of another name is refused. "" is not checked.
	Installation string
	// Durability of topics that are to have another than their own, by name; of the jobs by jobs.v1.
	Durability map[string]event.Durability
}

// Classes lists the names that Settings.Durability takes.
func Classes() []string {
	var all []string
	for _, t := range append(event.Topics(), topicDead, topicState, topicAgain) {
		all = append(all, t.Class())
	}
	slices.Sort(all)
	return all
}

// New makes a bus over a driver, with the topics of every word and the jobs of the given zones.
func New(d driver.Driver, settings Settings, scope obs.Scope) *Bus {
	scope = scope.For("bus")
	b := &Bus{
		d: d, settings: settings, topics: map[string]event.Topic{}, scope: scope, decoded: newDecoded(),
		published: scope.Counter("kemi_bus_published_total", "Events stored on a topic.", "topic"),
		failed:    scope.Counter("kemi_bus_publish_failed_total", "Publish calls that returned an error.", "topic"),
		handled:   scope.Counter("kemi_bus_handled_total", "Events handled by a group.", "topic", "group"),
		retried:   scope.Counter("kemi_bus_retried_total", "Attempts of a group that failed and were made again.", "topic", "group"),
		dead:      scope.Counter("kemi_bus_dead_total", "Events put on dead.v1.", "topic", "group"),
		skipped:   scope.Counter("kemi_bus_unreadable_total", "Records that a follower could not read and passed over.", "topic"),
		delay:     scope.Gauge("kemi_bus_delay_seconds", "Age of the oldest event that waits or was taken in the last second; of jobs, which have no partition here, of the last one taken.", "topic", "group", "partition"),
		sizes:     map[string]*size{},
	}
	for _, t := range append(event.Topics(settings.Zones...), topicDead, topicState, topicAgain) {
		if durability, set := settings.Durability[t.Class()]; set {
			t.Durability = durability
		}
		b.topics[t.Name] = t
	}
	b.sizer, _ = d.(driver.Sizer)
	for name := range b.topics {
		b.sizes[name] = &size{}
	}
	return b
}

// ErrAway is wrapped when no broker answers, ErrFull when it has no room: both may pass.
var (
	ErrAway = driver.ErrAway
	ErrFull = driver.ErrFull
)

// Open makes sure that every topic is there as it should be.
func (b *Bus) Open(ctx context.Context) error {
	all := make([]driver.Topic, 0, len(b.topics))
	for _, t := range b.topics {
		want := driver.Topic{
			Name: t.Name, Kind: driver.Kind(t.Kind), Partitions: t.Partitions, Keep: t.Keep,
			MaxBytes: t.MaxBytes, DropOldest: t.DropOldest, Bulk: t.Bulk, Sync: t.Durability == event.Power,
		}
		if t.Kind == event.Latest && t.Keep > 0 {
			want.History = history
		}
		all = append(all, want)
	}
	if err := b.d.Ensure(ctx, all); err != nil {
		return err
	}
	return b.belongs(ctx)
}

// asking is how long whoever opens the bus is waited for with an answer to whose it is. Broker and topics were there then.
const asking = 20 * time.Second

// belongs refuses the topics of another installation. Whoever comes first writes its name down.
func (b *Bus) belongs(ctx context.Context) error {
	const note = "bus/installation"
	mine := b.settings.Installation
	if mine == "" {
		return nil
	}
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	name, err := b.LoadNote(ctx, note)
	if err == nil && len(name) == 0 {
		if err := b.SaveNote(ctx, note, []byte(mine)); err != nil {
			return fmt.Errorf("write down whose topics these are: %w", err)
		}
		name, err = b.LoadNote(ctx, note) // Another may have come first.
	}
	switch {
	case err != nil && ctx.Err() != nil && whole.Err() == nil: // The broker may say why.
		return fmt.Errorf("%w: ask whose topics these are: %w", ErrAway, cmp.Or(b.Health(), err))
	case err != nil:
		return fmt.Errorf("ask whose topics these are: %w", err)
	case string(name) != mine:
		return fmt.Errorf("the topics belong to the installation %q, this one is %q: give each a prefix of its own on the broker, or both the same installation: if they are one", name, mine)
	}
	return nil
}

// Close closes the driver and with it every feed.
func (b *Bus) Close() error { return b.d.Close() }

// Topics lists the topics the bus carries, its own three among them, in no order.
func (b *Bus) Topics() []event.Topic {
	all := make([]event.Topic, 0, len(b.topics))
	for _, t := range b.topics {
		all = append(all, t)
	}
	return all
}

// Publish stores the events, each on its topic: nil means that all are stored at their topics' durability. On an
// error some may be stored; publishing the same events again does no harm. An event that the bus can never take,
// because it cannot be encoded or is too large, is stored on dead.v1 with the reason instead, and the others go on:
// were it an error, the one who says it would say it for ever. An event of a topic that is Shared must not be changed any
// more: readers in this process get the same one.
func (b *Bus) Publish(ctx context.Context, events ...event.Event) error {
	_, err := b.publish(ctx, nil, events)
	return err
}

// PublishTold is Publish for whoever has to know which of the events, by index, are on dead.v1 and not on their topics.
func (b *Bus) PublishTold(ctx context.Context, events ...event.Event) (buried []int, err error) {
	return b.publish(ctx, nil, events)
}

func (b *Bus) publish(ctx context.Context, fence *driver.Fence, events []event.Event) (buried []int, err error) {
	records, of := make([]driver.Record, 0, len(events)), make([]int, 0, len(events)) // Which event each is of.
	for i, e := range events {
		r, err := b.record(e)
		switch {
		case errors.Is(err, driver.ErrNoTopic):
			return buried, err
		case err != nil:
			if err := b.bury(ctx, published(&r, err), fence); err != nil {
				return buried, err
			}
			buried = append(buried, i)
		default:
			records, of = append(records, r), append(of, i)
			if b.topics[r.Topic].Shared {
				b.decoded.published(e, &r)
			}
		}
	}
	err = b.storeApart(ctx, records, 0, fence, func(at int, err error) error {
		if err := b.bury(ctx, published(&records[at], err), fence); err != nil {
			return err
		}
		buried = append(buried, of[at])
		return nil
	})
	return buried, err
}

// storeApart publishes records in their order. When the broker says that one is too large, it is looked for by halves
// and its index, the first being from, given to refused.
func (b *Bus) storeApart(ctx context.Context, records []driver.Record, from int, fence *driver.Fence, refused func(at int, err error) error) error {
	err := b.store(ctx, records, fence)
	if !errors.Is(err, driver.ErrTooLarge) {
		return err
	}
	if len(records) == 1 {
		return refused(from, err)
	}
	half := len(records) / 2
	if err := b.storeApart(ctx, records[:half], from, fence, refused); err != nil {
		return err
	}
	return b.storeApart(ctx, records[half:], from+half, fence, refused)
}

// store publishes records and counts them.
func (b *Bus) store(ctx context.Context, records []driver.Record, fence *driver.Fence) error {
	if len(records) == 0 {
		return nil
	}
	err := b.d.Publish(ctx, records, fence)
	for i := range records {
		if i == 0 || records[i].Topic != records[i-1].Topic {
			b.look(records[i].Topic)
		}
		if err == nil {
			b.published.WithLabelValues(records[i].Topic).Inc()
		}
	}
	if err != nil {
		b.failed.WithLabelValues(records[0].Topic).Inc()
		return fmt.Errorf("publish %d to %s: %w", len(records), records[0].Topic, err)
	}
	return nil
}

// Remove takes the keys of the events out of their keep-latest topics. A key that no broker carries was never there.
func (b *Bus) Remove(ctx context.Context, events ...event.Event) error {
	return b.remove(ctx, nil, events)
}

func (b *Bus) remove(ctx context.Context, fence *driver.Fence, events []event.Event) error {
	records := make([]driver.Record, 0, len(events))
	for _, e := range events {
		t, key := e.Topic(), recordKey(e)
		if strings.IndexByte(key, 0) >= 0 {
			continue
		}
		records = append(records, driver.Record{
			Topic: t.Name, Partition: Partition(e.Route(), t.Partitions), Key: key,
			Headers: []driver.Header{{Name: headerWord, Value: t.Word}, {Name: headerRoute, Value: e.Route()}},
		})
	}
	return b.storeApart(ctx, records, 0, fence, func(int, error) error { return nil })
}

// recordKey is the key of an event's record: its own, but for words whose records are gathered under another.
func recordKey(e event.Event) string {
	if g, is := e.(interface{ RecordKey() string }); is {
		return g.RecordKey()
	}
	return e.Key()
}

// record makes an event's record. On an error other than ErrNoTopic it is what a dead letter can be made of.
func (b *Bus) record(e event.Event) (driver.Record, error) {
	t := e.Topic()
	if _, known := b.topics[t.Name]; !known {
		return driver.Record{}, fmt.Errorf("publish to %s: %w: this bus carries no such topic (is the zone configured?)", t.Name, driver.ErrNoTopic)
	}
	r := driver.Record{
		Topic: t.Name, Partition: Partition(e.Route(), t.Partitions), Key: recordKey(e), ID: e.Identity(),
		Headers: []driver.Header{
			{Name: headerWord, Value: t.Word}, {Name: headerType, Value: t.ContentType}, {Name: headerRoute, Value: e.Route()},
		},
	}
	value, err := e.Encode()
	if err != nil {
		return r, err
	}
	if r.Value = value; strings.IndexByte(r.Key, 0) >= 0 {
		return r, fmt.Errorf("the key %.100q has a NUL, which no broker carries", r.Key)
	}
	if t.Compress && len(value) >= compressFrom {
		r.Value = s2.Encode(nil, value)
		r.Headers = append(r.Headers, driver.Header{Name: headerEncoding, Value: "s2"})
	}
	return r, nil
}

// maxRecord bounds what a record may unpack to: a broker takes 1 MiB, a thousandfold is an attack.
const maxRecord = 64 << 20

// unpack undoes the record's content encoding.
func unpack(r *driver.Record) ([]byte, error) {
	switch enc := r.Header(headerEncoding); enc {
	case "":
		return r.Value, nil
	case "s2":
		n, err := s2.DecodedLen(r.Value)
		if err != nil {
			return nil, fmt.Errorf("unpack s2: %w", err)
		}
		if n > maxRecord {
			return nil, fmt.Errorf("unpack s2: %d bytes are over the limit of %d", n, maxRecord)
		}
		return s2.Decode(nil, r.Value)
	default:
		return nil, fmt.Errorf("content encoding %q is not known", enc)
	}
}

// decode turns a record into its word.
func decode[T any, W event.Word[T]](r *driver.Record) (*T, error) {
	w := W(new(T))
	if err := expects(w.Topic(), r); err != nil {
		return nil, err
	}
	data, err := unpack(r)
	if err != nil {
		return nil, err
	}
	if err := w.Decode(data); err != nil {
		return nil, err
	}
	return (*T)(w), nil
}

// Partition maps a route to one of n partitions with the hash of the Java Kafka clients (murmur2), so that other
// producers keyed by the route meet ours.
func Partition(route string, n int) int {
	if n <= 1 {
		return 0
	}
	return int(murmur2([]byte(route))&0x7fffffff) % n
}

// murmur2 is the 32-bit MurmurHash2 with the seed that Kafka uses. Source: Austin Appleby's MurmurHash2.
func murmur2(data []byte) uint32 {
	const m, seed = uint32(0x5bd1e995), uint32(0x9747b28c)
	h := seed ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h = h*m ^ k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// permanent marks an error that trying again cannot mend.
type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }

// Permanent says that trying again cannot help: the event goes to dead.v1 at once.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// permanentAt is a permanent error that says of which event it is.
type permanentAt struct {
	permanent
	position int64
}

// Unwrap implements the interface of errors.As and errors.Is.
func (p permanentAt) Unwrap() error { return p.permanent }

// PermanentAt is Permanent of the event at a position of a batch: that one goes to dead.v1, the others are handed over again
// together.
func PermanentAt(position int64, err error) error {
	if err == nil {
		return nil
	}
	return permanentAt{permanent{err}, position}
}

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}
