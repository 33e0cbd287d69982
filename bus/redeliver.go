package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// TopicAgain names the topic of what one group alone is handed again.
const TopicAgain = "again.v1"

// topicAgain refuses when it is full: what it has may not have been delivered yet. It keeps for longer than any group tries.
var topicAgain = event.Topic{
	Name: TopicAgain, Word: "dev.kemi.again.v1", Partitions: 4, Keep: 8 * 24 * time.Hour, MaxBytes: 512 << 20,
	ContentType: "application/json", Compress: true,
}

// AloneGroup begins the names of the groups that read again.v1 beside their topics: what one of them could not handle goes
// back to it alone, and a span can be sent to it alone.
const AloneGroup = "subscription-"

// Why a group is handed something again.
const (
	WhyReplay = "replay"
	WhyRetry  = "retry"
)

// Redelivery is a record that one group is handed again, from whatever topic it was.
type Redelivery struct {
	// For is the group; others pass it over.
	For string `json:"for"`
	// Why is WhyReplay or WhyRetry.
	Why string `json:"why"`
	// Asked is when somebody asked for it.
	Asked time.Time `json:"asked"`
	// Of is the topic it is from; Partition and Position are its place there.
	Of        string `json:"topic"`
	Partition int    `json:"partition"`
	Position  int64  `json:"position"`
	// ItsKey is the record's own.
	ItsKey string `json:"key"`
	// Stored is when it was stored there, of a dead letter when it was given up.
	Stored time.Time `json:"stored"`
	// Removed says that the record takes its key out of the topic; else Value is what it says, not compressed.
	Removed bool   `json:"removed,omitempty"`
	Value   []byte `json:"value,omitempty"`
}

// Topic implements event.Event.
func (r *Redelivery) Topic() event.Topic { return topicAgain }

// Identity implements event.Event: whoever asks twice is handed it twice.
func (r *Redelivery) Identity() string {
	return event.ComputeID("again", r.For, r.Of, strconv.Itoa(r.Partition), strconv.FormatInt(r.Position, 10), r.Asked.UTC().Format(time.RFC3339Nano))
}

// Key implements event.Event.
func (r *Redelivery) Key() string { return r.For + "/" + r.ItsKey }

// Route implements event.Event: what a group is handed of one key keeps its order.
func (r *Redelivery) Route() string { return r.Key() }

// Encode implements event.Event.
func (r *Redelivery) Encode() ([]byte, error) { return json.Marshal(r) }

// Decode implements event.Word.
func (r *Redelivery) Decode(data []byte) error {
	if err := json.Unmarshal(data, r); err != nil {
		return fmt.Errorf("decode %s: %w: %w", topicAgain.Word, event.ErrMalformed, err)
	}
	if r.For == "" || r.Of == "" {
		return fmt.Errorf("decode %s: %w: it does not say for whom, or of which topic", topicAgain.Word, event.ErrMalformed)
	}
	return nil
}

// redelivery makes one of a record as it was stored.
func redelivery(group, why string, asked, stored time.Time, position int64, r *driver.Record) (*Redelivery, error) {
	one := &Redelivery{
		For: group, Why: why, Asked: asked, Of: r.Topic, Partition: r.Partition, Position: position, ItsKey: r.Key, Stored: stored, Removed: r.Value == nil,
	}
	if one.Removed {
		return one, nil
	}
	var err error
	one.Value, err = unpack(r)
	return one, err
}

// SendAgain has one group alone handed a span of a topic again, of whatever kind the topic is: nobody else is told
// anything, and nothing is put back on it. A span without an end ends now. progress is told after every batch; it may be
// nil. The error wraps ErrFull when again.v1 has no room for more.
func (b *Bus) SendAgain(ctx context.Context, s Span, group string, progress func(Again)) (Again, error) {
	if _, err := b.Topic(s.Topic); err != nil {
		return Again{}, err
	}
	if err := b.listens(ctx, group); err != nil {
		return Again{}, err
	}
	asked := time.Now().UTC()
	a, err := b.again(ctx, s, func(batch []driver.Delivery, a *Again) error {
		events := make([]event.Event, 0, len(batch))
		for i := range batch {
			r := &batch[i].Record
			r.Partition = batch[i].Partition
			if r.Value != nil {
				if _, err := b.readable(r); err != nil {
					a.Unreadable++
					continue
				}
			}
			one, err := redelivery(group, WhyReplay, asked, batch[i].Stored, batch[i].Position, r)
			if err != nil {
				a.Unreadable++
				continue
			}
			events = append(events, one)
			a.Records++
			a.Bytes += int64(len(one.Value))
		}
		return b.Publish(ctx, events...)
	}, progress)
	if err != nil {
		return a, fmt.Errorf("send %s again to %s: %w", s.Topic, group, err)
	}
	b.scope.Log().Info("sent again", "topic", s.Topic, "group", group, "records", a.Records, "bytes", a.Bytes, "unreadable", a.Unreadable)
	return a, nil
}

// listens says what is wrong when nobody of the group reads again.v1 now: what is put there would wait for nobody.
func (b *Bus) listens(ctx context.Context, group string) error {
	info, err := b.Inspect(ctx, topicAgain.Name)
	if errors.Is(err, errMute) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask who reads %s: %w", topicAgain.Name, err)
	}
	for _, g := range info.Groups {
		for _, p := range g.Partitions {
			if g.Name == group && p.Owner != "" {
				return nil
			}
		}
	}
	return fmt.Errorf("nobody delivers to the group %s now: its subscription is not in the configuration, or the process that delivers does not run", group)
}

// alone reports whether the letter's record goes back to its group alone, by again.v1.
func (l *Letter) alone() bool { return strings.HasPrefix(l.Group, AloneGroup) }

// redeliver makes the record that brings a letter back to its group alone; why says that it cannot be done.
func (s *settling) redeliver(ctx context.Context, l *Letter) (r driver.Record, why string, err error) {
	if _, asked := s.listening[l.Group]; !asked {
		s.listening[l.Group] = ""
		if err := s.bus.listens(ctx, l.Group); err != nil {
			s.listening[l.Group] = err.Error()
		}
	}
	if why := s.listening[l.Group]; why != "" {
		return r, why, nil
	}
	if l.Topic == topicAgain.Name { // It is from there.
		return l.copied(), "", nil
	}
	one, err := redelivery(l.Group, WhyRetry, s.done.At, l.At, l.Position, &l.Record)
	if err != nil {
		return r, "it cannot be unpacked: " + err.Error(), nil
	}
	r, err = s.bus.record(one)
	return r, "", err
}
