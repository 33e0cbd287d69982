package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/subscription"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

// Line is one record of a topic. Event is the word as JSON: a CloudEvent, or a job or reading by its fields.
type Line struct {
	bus.Raw
	Event json.RawMessage `json:"event,omitempty"`
	// Letter and Done are what a record of dead.v1 says: why it is there, or what was done about which letters.
	Letter  *bus.Letter `json:"letter,omitempty"`
	Done    *bus.Done   `json:"done,omitempty"`
	Letters []int64     `json:"letters,omitempty"`
	// Unreadable says why the record is no event; Bytes are what it holds.
	Unreadable string `json:"unreadable,omitempty"`
	Bytes      []byte `json:"bytes,omitempty"`
}

// tail streams a topic as JSON lines, for as long as the caller reads.
func (a *api) tail(w http.ResponseWriter, r *http.Request) {
	a.stream(w, r, true, "from key limit")
}

// events writes what a topic stored in a span as JSON lines, and ends.
func (a *api) events(w http.ResponseWriter, r *http.Request) {
	a.stream(w, r, false, "from to key limit")
}

var errEnough = errors.New("enough")

func (a *api) stream(w http.ResponseWriter, r *http.Request, live bool, params string) {
	t, err := a.bus.Topic(r.PathValue("topic"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	if !knows(w, r, "topics", params) {
		return
	}
	span, err := parseSpan(t, r.URL.Query(), time.Now(), live)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	left, err := parseLimit(r, -1)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if !a.answers(w) {
		return
	}
	if err := a.there(r, span); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	_ = flush.Flush() // The caller sees at once that it is connected; a writer that cannot flush still writes.
	enc := json.NewEncoder(w)
	err = a.bus.Read(r.Context(), span, func(batch []bus.Raw) error {
		for _, raw := range batch {
			if left == 0 {
				return errEnough
			}
			if err := enc.Encode(describe(raw)); err != nil {
				return err
			}
			left--
		}
		if err := flush.Flush(); err != nil || left == 0 {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		panic(http.ErrAbortHandler) // So that the caller does not take it for the end: the status is said already.
	}
}

// there refuses a position that is still to come: whoever named it meant something else, and would wait in silence.
func (a *api) there(r *http.Request, s bus.Span) error {
	if s.Partition == nil || s.From.Position == 0 {
		return nil
	}
	info, err := a.bus.Inspect(r.Context(), s.Topic)
	if err != nil {
		return nil // A broker that does not say; it is read as it is.
	}
	for _, p := range info.Partitions {
		if p.Partition == *s.Partition && s.From.Position > p.End {
			return fmt.Errorf("from=%d/%d is still to come: the next event there will be %d/%d", p.Partition, s.From.Position, p.Partition, p.End)
		}
	}
	return nil
}

// parseLimit reads ?limit=; without it the number is otherwise.
func parseLimit(r *http.Request, otherwise int) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("limit=%q is no number of things: write 1 or more", s)
	}
	return n, nil
}

func describe(raw bus.Raw) Line {
	l := Line{Raw: raw}
	switch l.Letter, l.Done, l.Letters = bus.LetterOf(&raw); {
	case l.Letter != nil:
		l.Bytes = raw.Value
		return l
	case l.Done != nil, raw.Removed:
		return l
	}
	e, err := raw.Event()
	if err == nil && json.Valid(raw.Value) {
		l.Event = raw.Value
	} else if err == nil {
		l.Event, err = json.Marshal(e)
	}
	if err != nil {
		l.Unreadable, l.Bytes = err.Error(), raw.Value
	}
	return l
}

// replayed is what is posted to say a span of a topic again.
type replayed struct {
	From string `json:"from"`
	To   string `json:"to"`
	Key  string `json:"key"`
	Into string `json:"into"`
	// Yes says that the same topic is meant.
	Yes bool `json:"yes"`
	// Webhook names the subscription that alone is told it, in place of Into.
	Webhook string `json:"webhook"`
}

// Progress is a line of the answer to a replay: how far it is. The last one is Over or has an Error.
type Progress struct {
	bus.Again
	Over  bool   `json:"over,omitempty"`
	Error string `json:"error,omitempty"`
}

// progressEvery is how often a replay says how far it is.
const progressEvery = time.Second

// mayReplay says what is wrong with what is wanted of a topic.
func (a *api) mayReplay(t event.Topic, want *replayed) error {
	switch {
	case want.Webhook != "" && want.Into != "":
		return errors.New("webhook and into are both given: keep one")
	case want.Webhook != "" && !subscription.Takes(t.Name):
		return fmt.Errorf("%s is no topic to subscribe to: there are %s", t.Name, strings.Join(subscription.Names(), ", "))
	case want.Webhook != "":
		return nil
	case want.Into == "":
		return errors.New("into is missing: name the topic that the events are to be said on, or with webhook the subscription that is to be told them")
	}
	if err := a.bus.MaySayAgain(t.Name, want.Into); err != nil {
		return err
	}
	if t.Name == want.Into && !want.Yes {
		return fmt.Errorf("%s would be said again to everybody who reads it: say yes to that", t.Name)
	}
	return nil
}

// replay says a span of a topic again, for as long as the caller listens.
func (a *api) replay(w http.ResponseWriter, r *http.Request) {
	t, err := a.bus.Topic(r.PathValue("topic"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	var want replayed
	if !body(w, r, maxCommand, "replay", &want) {
		return
	}
	q := r.URL.Query()
	q.Set("from", want.From)
	q.Set("to", want.To)
	q.Set("key", want.Key)
	span, err := parseSpan(t, q, time.Now(), false)
	if err == nil {
		err = a.mayReplay(t, &want)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if !a.answers(w) {
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush, enc := http.NewResponseController(w), json.NewEncoder(w)
	_ = flush.Flush() // As for a tail.
	var last time.Time
	progress := func(so bus.Again) {
		if now := time.Now(); now.Sub(last) >= progressEvery {
			last = now
			_ = enc.Encode(Progress{Again: so}) // When the caller has left, its context ends and with it the replay.
			_ = flush.Flush()
		}
	}
	var total bus.Again
	if want.Webhook != "" {
		total, err = a.bus.SendAgain(r.Context(), span, subscription.Group(want.Webhook), progress)
	} else {
		total, err = a.bus.SayAgain(r.Context(), span, want.Into, progress)
	}
	end := Progress{Again: total, Over: err == nil}
	if err != nil {
		end.Error = err.Error()
	}
	_ = enc.Encode(end) // As above.
}
