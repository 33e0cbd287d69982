package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"
)

// entrance is how one connection is made that can be used: what kafka-go's transport does within a request, and gives up with
// it, is done here on its own time.
type entrance struct {
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	secure   *tls.Config
	login    sasl.Mechanism
	clientID string
}

// enter connects, encrypts, hears an answer of the broker, and says who we are, before ctx ends.
func (e entrance) enter(ctx context.Context, address string) (net.Conn, error) {
	raw, err := e.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	abandon := context.AfterFunc(ctx, func() { raw.Close() })
	c, err := e.introduce(ctx, raw, address)
	if !abandon() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
			err = fmt.Errorf("connect to %s: it answered too late: %w", address, ctx.Err())
		}
		return nil, err
	}
	return c, nil
}

func (e entrance) introduce(ctx context.Context, c net.Conn, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if e.secure != nil {
		secure := e.secure
		if secure.ServerName == "" {
			secure = secure.Clone()
			secure.ServerName = host
		}
		c = tls.Client(c, secure)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	talk := protocol.NewConn(&greeted{Conn: c, address: address}, e.clientID)
	res, err := talk.RoundTrip(&apiversions.Request{})
	if err != nil {
		return nil, err
	}
	can := res.(*apiversions.Response)
	if can.ErrorCode != 0 {
		return nil, fmt.Errorf("ask %s what it can do: %w", address, kafkago.Error(can.ErrorCode))
	}
	versions := map[protocol.ApiKey]int16{}
	for _, k := range can.ApiKeys {
		key := protocol.ApiKey(k.ApiKey)
		versions[key] = key.SelectVersion(k.MinVersion, k.MaxVersion)
	}
	talk.SetVersions(versions)
	if e.login != nil {
		if err := logIn(ctx, talk, e.login); err != nil {
			return nil, err
		}
	}
	return c, c.SetDeadline(time.Time{})
}

// logIn says who we are. Source: KIP-12, KIP-152.
func logIn(ctx context.Context, talk *protocol.Conn, as sasl.Mechanism) error {
	res, err := talk.RoundTrip(&saslhandshake.Request{Mechanism: as.Name()})
	if err != nil {
		return err
	}
	if code := res.(*saslhandshake.Response).ErrorCode; code != 0 {
		return kafkago.Error(code)
	}
	session, say, err := as.Start(ctx)
	for done := false; err == nil && !done; {
		res, err = talk.RoundTrip(&saslauthenticate.Request{AuthBytes: say})
		if errors.Is(err, io.EOF) { // Brokers before 1.0 say no in this way.
			return kafkago.SASLAuthenticationFailed
		}
		if err != nil {
			return err
		}
		said := res.(*saslauthenticate.Response)
		if said.ErrorCode != 0 {
			return fmt.Errorf("%w: %s", kafkago.Error(said.ErrorCode), said.ErrorMessage)
		}
		done, say, err = session.Next(ctx, said.AuthBytes)
	}
	return err
}

// greeted looks at the first bytes that come: who speaks another protocol announces a size that would be waited for in vain.
type greeted struct {
	net.Conn
	address string
	heard   bool
}

// Read implements net.Conn.
func (g *greeted) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 && !g.heard {
		g.heard = true
		if text := string(p[:min(n, 4)]); text == "HTTP" || text == "SSH-" || text == "INFO" {
			g.Conn.Close() // Else the rest would be read until time is up.
			return 0, fmt.Errorf("%s is no Kafka broker: it begins with %q; name the port of the brokers", g.address, text)
		}
	}
	return n, err
}
