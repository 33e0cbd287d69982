// Command subscribe-nats reads a topic of Kemi from NATS, as a team's program would. It imports nothing of Kemi: copy it.
//
//	go run . -url nats://nats.example:4222 -topic alerts.v1 -consumer network
//
// It writes each event as a line of JSON and acknowledges it then: what was not acknowledged comes again, to this process
// or the next one. NATS keeps the place of each consumer; two processes with one consumer share its events.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

type options struct {
	url, user, creds        string
	prefix, topic, consumer string
	stream, filter          string
	create, fresh           bool
	count                   int
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", nats.DefaultURL, "servers, separated by commas")
	flag.StringVar(&o.user, "user", "", "user; the password is in $NATS_PASSWORD")
	flag.StringVar(&o.creds, "creds", "", "credentials file, instead of a user")
	flag.StringVar(&o.prefix, "prefix", "kemi", "prefix of the installation")
	flag.StringVar(&o.topic, "topic", "alerts.v1", "topic to read")
	flag.StringVar(&o.consumer, "consumer", "", "name of your consumer: your team's, say")
	flag.StringVar(&o.filter, "filter", "", "with -create: subjects to read, kemi.alerts.v1.*.KEY say; empty is every event of the topic")
	flag.BoolVar(&o.create, "create", false, "make the consumer first; whoever looks after NATS may have done so")
	flag.BoolVar(&o.fresh, "new", false, "with -create: begin with what comes, not with the oldest event there is")
	flag.IntVar(&o.count, "n", 0, "stop after so many events; 0 is never")
	flag.Parse()
	o.stream = o.prefix + "_" + strings.ReplaceAll(o.topic, ".", "_")
	if o.filter == "" {
		// A partition and a key. Kemi keeps records of its own in the stream too, under longer subjects.
		o.filter = o.prefix + "." + o.topic + ".*.*"
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "subscribe-nats: %v\n", err)
		os.Exit(1)
	}
}

// run reads until ctx ends or o.count events were handled.
func run(ctx context.Context, o options, out io.Writer) error {
	if o.consumer == "" {
		return errors.New("-consumer is missing: give yours a name, so that it goes on where it was")
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	options := []nats.Option{
		nats.Name(o.consumer), nats.MaxReconnects(-1),
		// Answers come to inboxes: one's own can be allowed without allowing everybody's.
		nats.CustomInboxPrefix("_INBOX_" + o.consumer),
		// What is not allowed is not answered; this is where it is told.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			fmt.Fprintf(os.Stderr, "subscribe-nats: %v\n", err)
		}),
	}
	if o.user != "" {
		options = append(options, nats.UserInfo(o.user, os.Getenv("NATS_PASSWORD")))
	}
	if o.creds != "" {
		options = append(options, nats.UserCredentials(o.creds))
	}
	nc, err := nats.Connect(o.url, options...)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", o.url, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	consumer, err := find(ctx, js, o)
	if err != nil {
		return fmt.Errorf("find consumer %s of %s: %w", o.consumer, o.stream, because(ctx, err))
	}
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for n := 0; o.count == 0 || n < o.count; {
		// One is asked for at a time: what was fetched ahead and not handled would be given again only after AckWait.
		m, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
		switch {
		case ctx.Err() != nil:
			return because(ctx, err)
		case errors.Is(err, nats.ErrTimeout), errors.Is(err, jetstream.ErrNoHeartbeat):
			continue // Nothing came, or the server is away; the client connects again by itself.
		case err != nil:
			return fmt.Errorf("read %s: %w", o.stream, err)
		}
		if err := lines.Encode(lineOf(m)); err != nil {
			return err // Not acknowledged: it comes again.
		}
		// The answer is waited for: after it this event comes no more.
		if err := m.DoubleAck(ctx); err != nil {
			return fmt.Errorf("acknowledge an event of %s: %w", o.stream, because(ctx, err))
		}
		n++
	}
	return nil
}

// because prefers the reason why the context ended.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func find(ctx context.Context, js jetstream.JetStream, o options) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if !o.create {
		return js.Consumer(ctx, o.stream, o.consumer)
	}
	c := jetstream.ConsumerConfig{
		Durable: o.consumer, FilterSubject: o.filter, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second,
		// In order, and none is left out: one at a time, for as long as it takes.
		MaxAckPending: 1, MaxDeliver: -1,
	}
	if o.fresh {
		c.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	return js.CreateConsumer(ctx, o.stream, c)
}

// line is what is written of an event.
type line struct {
	Subject string            `json:"subject"`
	Headers map[string]string `json:"headers"`
	// Removed: the key is there no more. There is no event then.
	Removed bool            `json:"removed,omitempty"`
	Event   json.RawMessage `json:"event,omitempty"`
	// Bytes are what is no JSON: jobs and readings are protobuf.
	Bytes []byte `json:"bytes,omitempty"`
}

func lineOf(m jetstream.Msg) line {
	l := line{Subject: m.Subject(), Headers: map[string]string{}}
	for name := range m.Headers() {
		l.Headers[name] = m.Headers().Get(name)
	}
	switch {
	case l.Headers["Kemi-Removed"] != "":
		l.Removed = true
	case json.Valid(m.Data()):
		l.Event = m.Data()
	default:
		l.Bytes = m.Data()
	}
	return l
}
