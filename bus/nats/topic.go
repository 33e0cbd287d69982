package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// dedupe is how long a stream remembers IDs.
const dedupe = 2 * time.Minute

// What a stream says about its topic, in its metadata.
const (
	metaTopic      = "kemi-topic"
	metaKind       = "kemi-kind"
	metaPartitions = "kemi-partitions"
	metaSync       = "kemi-sync"
)

var kinds = map[driver.Kind]string{driver.Log: "log", driver.Latest: "latest", driver.Work: "work"}

// topic is a driver.Topic and the stream it is kept in. Of one that another driver made only what the stream tells
// is known: name, kind, partitions, how long and how many of a key it keeps, its size, and sync.
type topic struct {
	driver.Topic
	link   *link
	at     int // process or power, of an embedded server.
	stream string
	before string // Begins every subject; the partition and the key follow.
	// fences: the stream has room for what keeps former owners out (see fence.go), and its server heeds it.
	fences bool
	// replicated streams take one conditional message at a time; atomic ones take a batch.
	replicated, atomic bool
	reserve            *reserve
	handle             jetstream.Stream
}

func (d *Driver) named(t driver.Topic, l *link, at int) *topic {
	parts := strings.Split(t.Name, ".")
	for i := range parts {
		parts[i] = token(parts[i])
	}
	return &topic{
		Topic: t, link: l, at: at, reserve: &reserve{turn: make(chan struct{}, 1)},
		stream: d.config.Prefix + "_" + strings.Join(parts, "_"),
		before: d.config.Prefix + "." + strings.Join(parts, ".") + ".",
	}
}

// subject of a partition's key.
func (t *topic) subject(partition int, key string) string {
	return t.before + "p" + strconv.Itoa(partition) + "." + token(key)
}

// filter matches all keys of a partition.
func (t *topic) filter(partition int) string { return t.before + "p" + strconv.Itoa(partition) + ".*" }

// filters are those of all partitions. They are the subjects of the stream: what others say elsewhere below it no group
// would ever be handed, so it is refused.
func (t *topic) filters() []string {
	all := make([]string, t.Partitions)
	for p := range all {
		all[p] = t.filter(p)
	}
	return all
}

// token makes any text one legal token of a subject, a stream's or a bucket's name: letters, digits, - and _ stand for
// themselves, other bytes are = and two digits, and nothing is =.
func token(s string) string {
	if s == "" {
		return "="
	}
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = isPlain(s[i])
	}
	if plain {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := range len(s) {
		if c := s[i]; isPlain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'=', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// untoken is the inverse of token.
func untoken(s string) (string, error) {
	if strings.IndexByte(s, '=') < 0 {
		return s, nil
	}
	if s == "=" {
		return "", nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			out = append(out, s[i])
			continue
		}
		if i+3 > len(s) {
			return "", fmt.Errorf("read key %q: it ends in the middle", s)
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("read key %q: %w", s, err)
		}
		out = append(out, byte(c))
		i += 2
	}
	return string(out), nil
}

// config is the stream of a topic.
func (d *Driver) streamConfig(t *topic) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:        t.stream,
		Description: "Kemi's topic " + t.Name,
		Subjects:    t.filters(),
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    t.MaxBytes,
		MaxAge:      t.Keep,
		Duplicates:  dedupe,
		Replicas:    d.config.Replicas,
		Metadata: map[string]string{
			metaTopic: t.Name, metaKind: kinds[t.Kind], metaPartitions: strconv.Itoa(t.Partitions), metaSync: strconv.FormatBool(t.Sync),
		},
		AllowAtomicPublish: t.link.batches && t.Kind != driver.Work,
	}
	if t.Kind != driver.Work {
		c.Subjects = append(c.Subjects, t.before+fenceToken+".*.*.*")
	}
	if t.MaxBytes <= 0 {
		c.MaxBytes = -1
	}
	if t.DropOldest {
		c.Discard = jetstream.DiscardOld
	}
	if t.Keep > 0 {
		c.Duplicates = min(dedupe, t.Keep)
	}
	if most := t.PerKey(); most > 0 {
		// Bounded although it is kept: of each key only the newest stay. A full stream takes a message all the same when
		// the one that goes for it is as large.
		c.MaxMsgsPerSubject = int64(most)
	}
	return c
}

// takes notes what the stream can do beyond storing.
func (t *topic) takes(s jetstream.Stream) {
	c := s.CachedInfo().Config
	t.handle = s
	t.fences = t.link.fences && slices.Contains(c.Subjects, t.before+fenceToken+".*.*.*")
	t.replicated, t.atomic = c.Replicas > 1, t.link.batches && c.AllowAtomicPublish
}

func (d *Driver) know(t *topic) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.topics[t.Name] = t
}

func (d *Driver) unknow(t *topic) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.topics[t.Name] == t {
		delete(d.topics, t.Name)
	}
}

// topic returns a topic of that name that was ensured here or anywhere.
func (d *Driver) topic(ctx context.Context, name string) (*topic, error) {
	d.mu.Lock()
	t := d.topics[name]
	d.mu.Unlock()
	if t != nil {
		return t, nil
	}
	return d.seek(ctx, name)
}

// find asks the servers for a topic's stream.
func (d *Driver) find(ctx context.Context, name string) (*topic, error) {
	for at, l := range d.links {
		if at == power && l == d.links[process] {
			break
		}
		t := d.named(driver.Topic{Name: name}, l, at)
		var s jetstream.Stream
		err := l.call(ctx, t.stream, func(ctx context.Context) (err error) {
			s, err = l.js.Stream(ctx, t.stream)
			return err
		})
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, l.explain(fmt.Errorf("look up stream %s: %w", t.stream, d.put(err)))
		}
		c := s.CachedInfo().Config
		switch have := c.Metadata[metaTopic]; have {
		case name:
		case "":
			return nil, driver.Differs(fmt.Errorf("stream %s is there and is not Kemi's (it takes %s): give Kemi another prefix (it is %q now), or have its owner move it", t.stream, strings.Join(c.Subjects, " "), d.config.Prefix))
		default:
			return nil, driver.Differs(fmt.Errorf("stream %s holds the topic %s, not %s: another Kemi's prefix is too like this one's (%q), give another", t.stream, have, name, d.config.Prefix))
		}
		for k, text := range kinds {
			if text == c.Metadata[metaKind] {
				t.Kind = k
			}
		}
		if t.Partitions, err = strconv.Atoi(c.Metadata[metaPartitions]); err != nil {
			return nil, driver.Differs(fmt.Errorf("read metadata of stream %s: %w", t.stream, err))
		}
		t.Sync = c.Metadata[metaSync] == "true"
		if d.host != nil { // It may have been moved from one server to the other: see redurable.
			t.Sync = at == power
		}
		t.Keep, t.MaxBytes, t.DropOldest = c.MaxAge, max(c.MaxBytes, 0), c.Discard == jetstream.DiscardOld
		if t.Kind == driver.Latest {
			t.History = int(max(c.MaxMsgsPerSubject, 0))
		}
		t.takes(s)
		return t, nil
	}
	return nil, driver.ErrNoTopic
}

// Size implements driver.Sizer.
func (d *Driver) Size(ctx context.Context, name string) (used, limit int64, err error) {
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return 0, 0, fmt.Errorf("size of %s: %w", name, err)
	}
	t, err := d.topic(ctx, name)
	if err != nil {
		return 0, 0, fmt.Errorf("size of %s: %w", name, err)
	}
	var s jetstream.Stream
	err = t.link.call(ctx, t.stream, func(ctx context.Context) (err error) {
		s, err = t.link.js.Stream(ctx, t.stream)
		return err
	})
	if err != nil {
		return 0, 0, t.link.explain(fmt.Errorf("size of %s: look up stream %s: %w", name, t.stream, d.put(err)))
	}
	info := s.CachedInfo()
	return int64(info.State.Bytes), t.capacity(), nil
}
