package bus

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// Letter is one record of dead.v1 that could not be handled, and why. It stays there as long as the topic keeps it, also
// when it is done: that is written behind it on the same topic, so that whoever reads the topic knows.
type Letter struct {
	// ID is the letter's position on dead.v1.
	ID int64 `json:"id"`
	// At is when it was given up.
	At time.Time `json:"at"`
	// Topic, Partition and Position are where the record was; Position is -1 for what was never stored.
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Position  int64  `json:"position"`
	// Group could not handle it; "publisher" could not store it.
	Group    string `json:"group"`
	Key      string `json:"key"`
	Attempts int    `json:"attempts,omitempty"`
	Reason   string `json:"reason"`
	// Bytes are how many the record had; Truncated says that the letter holds fewer.
	Bytes     int  `json:"bytes"`
	Truncated bool `json:"truncated,omitempty"`
	// Removed: the record takes its key out of the topic.
	Removed bool `json:"removed,omitempty"`
	// Foreign: no Kemi wrote it. Topic, Partition and Position are then where it lies itself, and Reason says what it is.
	Foreign bool `json:"foreign,omitempty"`
	// Done is nil while nobody did anything about it.
	Done *Done `json:"done,omitempty"`
	// Record is the original one, as much of it as the letter holds; only Bus.Letter fills it.
	Record driver.Record `json:"-"`
}

// How a letter was done.
const (
	Retried = "retried"
	Dropped = "dropped"
)

// Done says what was done about letters.
type Done struct {
	// How is Retried or Dropped.
	How     string    `json:"how"`
	By      string    `json:"by,omitempty"`
	Comment string    `json:"comment,omitempty"`
	At      time.Time `json:"at"`
}

// done is what is written behind letters: they are named by their positions.
type done struct {
	Done
	Letters []int64 `json:"letters"`
}

// deadDone is the header of what is written behind letters; it says how they were done.
const deadDone = "kemi-dead-done"

// record makes what is written behind letters.
func (d *done) record() (driver.Record, error) {
	value, err := json.Marshal(d)
	return driver.Record{
		Topic: topicDead.Name, Value: value,
		Headers: []driver.Header{{Name: headerType, Value: "application/json"}, {Name: deadDone, Value: d.How}},
	}, err
}

// parseDone reads what is written behind letters; ok is false for a letter.
func parseDone(r *driver.Record) (d done, ok bool) {
	if r.Header(deadDone) == "" || r.Header(deadTopic) != "" {
		return d, false
	}
	return d, json.Unmarshal(r.Value, &d) == nil
}

// parseLetter reads a letter. What others wrote to dead.v1 is a letter too, of which no more is known than that.
func parseLetter(d *driver.Delivery) Letter {
	about := map[string]string{}
	var original []driver.Header
	for _, h := range d.Record.Headers {
		if strings.HasPrefix(h.Name, "kemi-dead-") {
			about[h.Name] = h.Value // The last one is ours.
		} else {
			original = append(original, h)
		}
	}
	l := Letter{
		ID: d.Position, At: d.Stored, Topic: about[deadTopic], Group: about[deadGroup], Key: d.Record.Key, Position: -1,
		Bytes: len(d.Record.Value), Removed: about[deadRemoved] != "", Reason: about[deadReason],
	}
	if reason, err := strconv.Unquote(l.Reason); err == nil {
		l.Reason = reason
	}
	if key, err := strconv.Unquote(about[deadKey]); err == nil {
		l.Key = key
	}
	if at, err := time.Parse(time.RFC3339Nano, about[deadAt]); err == nil {
		l.At = at
	}
	l.Partition, _ = strconv.Atoi(about[deadPartition]) // Zero, when a stranger wrote it.
	l.Attempts, _ = strconv.Atoi(about[deadAttempts])
	if p, err := strconv.ParseInt(about[deadPosition], 10, 64); err == nil {
		l.Position = p
	}
	if n, err := strconv.Atoi(about[deadTruncated]); err == nil {
		l.Truncated, l.Bytes = true, n
	}
	if l.Topic == "" {
		l.Foreign, l.Topic, l.Partition, l.Position = true, topicDead.Name, d.Partition, d.Position
		l.Reason = strangers(&d.Record)
	}
	l.Record = driver.Record{Topic: l.Topic, Partition: l.Partition, Key: l.Key, Value: d.Record.Value, Headers: original}
	if l.Removed {
		l.Record.Value = nil
	}
	return l
}

// strangers says what a record on dead.v1 is that no Kemi put there.
func strangers(r *driver.Record) string {
	what := "without a content type"
	if is := r.Header(headerType); is != "" {
		what = fmt.Sprintf("of the content type %.100q", is)
	}
	return fmt.Sprintf("not a dead letter of Kemi: somebody else put %d bytes %s on %s, and no record of a topic", len(r.Value), what, topicDead.Name)
}

// LetterOf reads a record of dead.v1 as Tail hands it over: a letter, or nil and what was done about which letters, or
// nothing when it is of another topic.
func LetterOf(r *Raw) (letter *Letter, behind *Done, of []int64) {
	if r.Topic != topicDead.Name {
		return nil, nil, nil
	}
	d := driver.Delivery{Partition: r.Partition, Position: r.Position, Stored: r.Stored, Record: driver.Record{Topic: r.Topic, Key: r.Key, Value: r.Value}}
	for name, value := range r.Headers {
		d.Record.Headers = append(d.Record.Headers, driver.Header{Name: name, Value: value})
	}
	if m, ok := parseDone(&d.Record); ok {
		return nil, &m.Done, m.Letters
	}
	l := parseLetter(&d)
	l.Record = driver.Record{} // Unpacked here, and not as it was.
	return &l, nil, nil
}

// LetterFilter chooses letters. The zero one chooses all that are not done.
type LetterFilter struct {
	Topic, Group string
	// Reason is a part of the reason, in any case of letters.
	Reason string
	// Since leaves out what was given up before.
	Since time.Time
	// Done takes those that are done, too.
	Done bool
}

func (f *LetterFilter) match(l *Letter) bool {
	return (f.Topic == "" || f.Topic == l.Topic) && (f.Group == "" || f.Group == l.Group) && !l.At.Before(f.Since) &&
		strings.Contains(strings.ToLower(l.Reason), strings.ToLower(f.Reason))
}

// stuck says why a letter cannot be put back, "" when it can.
func (l *Letter) stuck(topics map[string]event.Topic) string {
	t, known := topics[l.Topic]
	switch {
	case l.Foreign:
		return "it is not a dead letter of Kemi, and there is no topic to put it back on: drop it"
	case !known || t.Word == topicDead.Word || t.Word == topicState.Word:
		return "this bus does not carry the topic " + l.Topic + " (is the zone configured?)"
	case l.Truncated && len(l.Record.Value) == l.Bytes:
		return "it is cut short: the letter has not all of the record's key and headers"
	case l.Truncated:
		return "it is cut short: the letter holds " + strconv.Itoa(len(l.Record.Value)) + " of " + strconv.Itoa(l.Bytes) + " bytes"
	case l.Group == groupPublisher:
		return "it was never stored, and would not be now: " + l.Reason
	case strings.IndexByte(l.Key, 0) >= 0:
		return "its key has a NUL, which no broker carries"
	case l.Partition < 0 || l.Partition >= t.Partitions && t.Kind != event.Work:
		return "the topic has " + strconv.Itoa(t.Partitions) + " partitions, it was in number " + strconv.Itoa(l.Partition)
	}
	return ""
}

// newestFirst sorts letters and leaves at most limit of them; 0 is all.
func newestFirst(all []Letter, limit int) []Letter {
	slices.SortFunc(all, func(a, b Letter) int { return int(max(-1, min(1, b.ID-a.ID))) })
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all
}
