package nats

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// probing is how long one address may take to say what is wrong.
const probing = 2 * time.Second

// probe connects to one address and says why it does not work; nil when it does.
func (c *Config) probe(address string, who []nats.Option) error {
	nc, err := nats.Connect(address, append([]nats.Option{nats.Timeout(probing), nats.NoReconnect()}, who...)...)
	if err == nil {
		nc.Close()
		return nil
	}
	if errors.Is(err, nats.ErrNoServers) || hungUp(err) {
		if heard := c.listen(address); heard != nil {
			return heard
		}
	}
	return err
}

// hungUp says that a server ended the connection while the client was talking: what it said before is lost on the client.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// listen connects and says nothing, so that what the server says before it hangs up is heard; nil when that is nothing.
func (c *Config) listen(address string) error {
	u, err := url.Parse(address)
	if err != nil || strings.HasPrefix(u.Scheme, "ws") {
		return nil
	}
	port := u.Port()
	if port == "" {
		port = "4222"
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(u.Hostname(), port), probing)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probing)); err != nil {
		return err
	}
	secure := c.TLS != nil || u.Scheme == "tls"
	if c.TLS == nil || !c.TLS.HandshakeFirst {
		// Byte by byte: what follows the greeting is the handshake's.
		var line strings.Builder
		for b := make([]byte, 1); !strings.HasSuffix(line.String(), "\n") && line.Len() < 1<<16; line.Write(b) {
			if _, err := conn.Read(b); err != nil {
				return nil
			}
		}
		if err := complaint(line.String()); err != nil {
			return err
		}
	}
	if secure {
		how, err := c.client(u.Hostname())
		if err != nil {
			return err
		}
		client := tls.Client(conn, how)
		if err := client.Handshake(); err != nil {
			return err
		}
		conn = client
	}
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			if strings.Contains(err.Error(), "remote error") {
				return err
			}
			return nil
		}
		if err := complaint(line); err != nil {
			return err
		}
	}
}

// complaint reads an error of the protocol.
func complaint(line string) error {
	if text, ok := strings.CutPrefix(line, "-ERR "); ok {
		return errors.New("nats: " + strings.ToLower(strings.Trim(text, "' \r\n")))
	}
	return nil
}

// client is how the client's side of TLS is set for a host.
func (c *Config) client(host string) (*tls.Config, error) {
	if c.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}, nil
	}
	t, err := c.TLS.TLS()
	if err == nil && t.ServerName == "" {
		t.ServerName = host
	}
	return t, err
}
