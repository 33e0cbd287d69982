package nats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

const (
	pullBytes  = 4 << 20 // One request brings at most so much, so that large records do not pile up.
	pullFor    = 30 * time.Second
	heartbeat  = 2 * time.Second
	suspicious = 15 * time.Second // Silence after which a consumer that has something is taken for stuck.
)

// intake keeps a consumer's messages coming: it makes the consumer, keeps requests open as long as there is room,
// and begins anew when the connection, the consumer or a message is lost. One goroutine, run.
type intake struct {
	link   *link
	log    *slog.Logger
	stream string
	// open makes the consumer or finds it. It is called again whenever the intake begins anew.
	open func(ctx context.Context) (jetstream.Consumer, error)
	// lasts is for how long one request asks; 0 is pullFor.
	lasts time.Duration
	// room is how many more messages can be taken; below 0 not even those that were asked for. After it grew, more tells.
	room func() int
	more chan struct{}
	// take gets each message, in order.
	take func(m *nats.Msg, meta *nats.MsgMetadata) error
	// idle, when given, is told once a second that the consumer had nothing for us and that nothing is on its way. In a
	// cluster the consumer may be with a server that has not heard of everything yet.
	idle func(ctx context.Context) error
	// own: the consumer is nobody else's. It goes with the session, and a gap in its messages ends the session.
	own bool
}

func (i *intake) nudge() {
	select {
	case i.more <- struct{}{}:
	default:
	}
}

// run blocks until ctx ends.
func (i *intake) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		begun := time.Now()
		err := i.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > 10*time.Second {
			attempt = 0
		}
		i.link.warn(i.log, "read anew", err, "stream", i.stream)
		if !pause.For(ctx, min(20*time.Millisecond<<min(attempt, 10), 5*time.Second)) || i.link.connected(ctx) != nil {
			return
		}
	}
}

var (
	errReborn = errors.New("the connection was lost")
	errSilent = errors.New("the server was silent")
	errGap    = errors.New("a message was lost on the way")
	errStuck  = errors.New("the consumer is stuck")
	// errUnwanted ends a session whose requests are not to be answered any more.
	errUnwanted = errors.New("nothing more is wanted")
)

// session reads from one consumer.
func (i *intake) session(ctx context.Context) error {
	reborn := i.link.next()
	var consumer jetstream.Consumer
	err := i.link.once(ctx, i.stream, func(ctx context.Context) (err error) {
		consumer, err = i.open(ctx)
		return err
	})
	if err != nil {
		return err
	}
	outer := ctx
	ctx, done := i.link.during(ctx, concerns(i.stream))
	defer done()
	info := consumer.CachedInfo()
	if i.own {
		defer i.drop(info.Stream, info.Name)
	}
	const most = 1024
	messages := make(chan *nats.Msg, 2*most+64)
	inbox := i.link.nc.NewInbox()
	sub, err := i.link.nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()

	pull := "$JS.API.CONSUMER.MSG.NEXT." + info.Stream + "." + info.Name
	asked, got := 0, uint64(0)
	heard, last := time.Now(), time.Now()
	if i.idle != nil && info.NumPending == 0 {
		if err := i.link.once(ctx, i.stream, i.idle); err != nil {
			return err
		}
	}
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	for {
		room := i.room()
		if room < 0 && asked > 0 {
			return errUnwanted
		}
		if want := min(room, most) - asked; want > 0 && (asked == 0 || want >= asked) {
			body, _ := json.Marshal(pullRequest{Batch: want, Expires: cmp.Or(i.lasts, pullFor), Heartbeat: heartbeat, MaxBytes: pullBytes})
			if err := i.link.nc.PublishRequest(pull, inbox, body); err != nil {
				return fmt.Errorf("request messages: %w", err)
			}
			if asked == 0 {
				heard = time.Now()
			}
			asked += want
		}
		select {
		case <-ctx.Done():
			if outer.Err() != nil {
				return outer.Err()
			}
			return context.Cause(ctx)
		case <-reborn:
			return errReborn
		case <-i.more:
		case m := <-messages:
			heard = time.Now()
			if !strings.HasPrefix(m.Reply, "$JS.ACK.") {
				over, err := status(m)
				if err != nil {
					return err
				}
				asked = max(0, asked-over)
				continue
			}
			last = heard
			asked = max(0, asked-1)
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("read message: %w", err)
			}
			if got++; i.own && meta.Sequence.Consumer != got {
				return errGap
			}
			if err := i.take(m, meta); err != nil {
				return err
			}
		case now := <-clock.C:
			if asked > 0 && now.Sub(heard) > 3*heartbeat {
				return errSilent
			}
			stuck := asked > 0 && now.Sub(last) > suspicious
			if i.idle == nil && !stuck || now.Sub(last) < time.Second {
				continue
			}
			asking, cancel := context.WithTimeout(ctx, 5*time.Second)
			info, err := consumer.Info(asking)
			cancel()
			if err != nil {
				return fmt.Errorf("ask for the consumer: %w", err)
			}
			if info.NumPending > 0 && stuck && len(messages) == 0 {
				return errStuck
			}
			if i.idle != nil && info.NumPending == 0 && info.Delivered.Consumer == got && len(messages) == 0 {
				if err := i.link.once(ctx, i.stream, i.idle); err != nil {
					return err
				}
			}
			if stuck {
				last = now
			}
		}
	}
}

// pullRequest is the body of $JS.API.CONSUMER.MSG.NEXT.
type pullRequest struct {
	Batch     int           `json:"batch"`
	Expires   time.Duration `json:"expires"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
	MaxBytes  int           `json:"max_bytes"`
}

// status reads what a server says instead of a message: how many of the requested messages will not come.
func status(m *nats.Msg) (over int, err error) {
	code := m.Header.Get("Status")
	text := m.Header.Get("Description")
	switch code {
	case "100":
		return 0, nil
	case "408", "409", "404":
		pending := m.Header.Get("Nats-Pending-Messages")
		over, err := strconv.Atoi(pending)
		if err != nil || over < 0 {
			return 0, fmt.Errorf("the consumer says %s %s", code, text)
		}
		return over, nil
	}
	return 0, fmt.Errorf("the consumer says %s %s", code, text)
}

// drop deletes a consumer of our own; what cannot be deleted the server forgets by itself.
func (i *intake) drop(stream, name string) {
	if !i.link.answers() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := i.link.once(ctx, stream, func(ctx context.Context) error { return i.link.js.DeleteConsumer(ctx, stream, name) }); err != nil {
		i.log.Debug("delete consumer", "stream", stream, "err", err)
	}
}

// reading is the consumer of a reader that keeps its own position.
func (t *topic) reading(ctx context.Context, filters []string, at from) (jetstream.Consumer, error) {
	c := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: 5 * time.Minute, MemoryStorage: true, Replicas: 1,
	}
	if len(filters) == 1 {
		c.FilterSubject = filters[0]
	} else {
		c.FilterSubjects = filters
	}
	switch {
	case at.snapshot:
		c.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
	case at.position > 1:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, uint64(at.position)
	case !at.time.IsZero():
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &at.time
	default:
		c.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	consumer, err := t.link.js.CreateConsumer(ctx, t.stream, c)
	if err != nil {
		return nil, fmt.Errorf("create consumer: %w", err)
	}
	return consumer, nil
}

// from is where a reader goes on.
type from struct {
	snapshot bool
	position int64
	after    int64 // When the record before position was stored, in nanoseconds; 0 when nobody knows.
	time     time.Time
}

// resume is where a reader goes on in a stream that may have lost its newest records: a server whose machine lost power
// may not have had them on its disk. Their positions go to others then, which the reader is to have. So it goes back when
// the stream ends before its position; or, when enough was stored meanwhile, when the record before is not the one that
// it had. What was stored after that one is new. Where the record before is gone nobody can tell, and it stays where it is.
func (t *topic) resume(ctx context.Context, at from, end int64) (from, error) {
	lost := at.position > end+1
	switch {
	case lost && at.after == 0:
		return from{snapshot: at.snapshot, position: end + 1}, nil
	case !lost && (at.after == 0 || at.position <= 1):
		return at, nil
	case !lost:
		m, err := t.handle.GetMsg(ctx, uint64(at.position-1))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return at, nil
		}
		if err != nil {
			return at, fmt.Errorf("read the record before position %d: %w", at.position, err)
		}
		switch stored := m.Time.UnixNano(); {
		case stored == at.after:
			return at, nil
		case stored < at.after: // The server's clock went back too: times say nothing.
			return from{snapshot: at.snapshot, position: 1}, nil
		}
	}
	return from{snapshot: at.snapshot, time: time.Unix(0, at.after+1)}, nil
}

// resumeAt is the position where the reader of one partition goes on.
func (t *topic) resumeAt(ctx context.Context, p int, at from, end int64) (int64, error) {
	to, err := t.resume(ctx, at, end)
	if err != nil || to.time.IsZero() {
		return to.position, err
	}
	next, err := t.resolve(ctx, p, driver.Start{Time: to.time})
	return min(next, at.position), err
}

// lastOf is the position and the time of the newest record in a filter, 0 when there is none.
func (t *topic) lastOf(ctx context.Context, filter string) (position int64, at time.Time, err error) {
	s, err := t.link.js.Stream(ctx, t.stream)
	if err != nil {
		return 0, at, fmt.Errorf("look up stream %s: %w", t.stream, err)
	}
	m, err := s.GetLastMsgForSubject(ctx, filter)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, at, nil
	}
	if err != nil {
		return 0, at, fmt.Errorf("read last record: %w", err)
	}
	return int64(m.Sequence), m.Time, nil
}

// end is the position of the newest record of the whole topic.
func (t *topic) end(ctx context.Context) (int64, error) {
	_, end, err := t.birth(ctx)
	return end, err
}

// latest is the position and the time of the newest record.
func (t *topic) latest(ctx context.Context) (end int64, at time.Time, err error) {
	s, err := t.link.js.Stream(ctx, t.stream)
	if err != nil {
		return 0, at, fmt.Errorf("look up stream %s: %w", t.stream, err)
	}
	state := s.CachedInfo().State
	return int64(state.LastSeq), state.LastTime, nil
}

// birth is when the stream was made, and the position of its newest record. A stream that was made again has other
// records at the same positions.
func (t *topic) birth(ctx context.Context) (born, end int64, err error) {
	s, err := t.link.js.Stream(ctx, t.stream)
	if err != nil {
		return 0, 0, fmt.Errorf("look up stream %s: %w", t.stream, err)
	}
	info := s.CachedInfo()
	return info.Created.UnixNano(), int64(info.State.LastSeq), nil
}
