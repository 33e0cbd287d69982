package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// advice says in words why a server could not be used, and what to do. The error stays below it.
type advice struct {
	text string
	err  error
}

func (a *advice) Error() string { return a.text }
func (a *advice) Unwrap() error { return a.err }

// why turns what a failed connection says into words, for a person who looks at the configuration.
func (c *Config) why(address string, err error) error {
	text := err.Error()
	says := func(format string, args ...any) error { return &advice{fmt.Sprintf(format, args...), err} }
	for _, w := range []func(error, string) string{c.whyRefused, c.whyCertificate, c.whyAlert} {
		if s := w(err, text); s != "" {
			return says("%s", s)
		}
	}
	var dns *net.DNSError
	host := address
	if u, perr := url.Parse(address); perr == nil {
		host = u.Host
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return says("the connection is refused: nothing listens at %s, start the server or correct the address", host)
	case errors.As(err, &dns):
		return says("the name %s is not known: correct it, or look at the name servers", dns.Name)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return says("the server offers no TLS: switch it on there, or remove tls here and write nats://")
	case errors.Is(err, nats.ErrNoInfoReceived), strings.Contains(text, "nats: expected"), errors.As(err, new(tls.RecordHeaderError)):
		return says("what answers at %s does not speak as expected (%v): is this the port for clients, usually 4222? does the server want TLS from the start (tls: {handshake_first: true}), or not so?", host, err)
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return says("no answer from %s in time: is the address right, is a firewall between? a server that wants TLS from the start needs tls: {handshake_first: true}", host)
	case hungUp(err):
		return says("the server at %s ended the connection without a word: its log says why", host)
	}
	return err
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// whyRefused is about who we are.
func (c *Config) whyRefused(err error, text string) string {
	switch {
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return "the credentials expired: have new ones made"
	case errors.Is(err, nats.ErrAuthRevoked):
		return "the credentials were revoked: have new ones made"
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return "the server knows no nkeys: use the credentials it is set up for, or add the user there"
	case strings.Contains(strings.ToLower(text), "connections exceeded"):
		return "the server has as many connections as it may: raise its max_connections, or the account's"
	case !errors.Is(err, nats.ErrAuthorization) && !strings.Contains(strings.ToLower(text), "authorization violation"):
		return ""
	}
	switch ways := c.ways(); {
	case c.CredsFile != "":
		if what, do := c.judgeCreds(); what != "" { // They were good at the start.
			return what + ": " + do
		}
		return "the server refuses the credentials of creds_file: the user or its account is not known there, or no longer"
	case c.NkeyFile != "":
		return "the server refuses the nkey of nkey_file: add its public key to the server's users"
	case !c.Token.IsZero():
		return "the server refuses the token: check token"
	case c.User != "":
		return "the server refuses the user or its password: check user and password"
	case len(ways) > 0:
		return "the server refuses who is named in the address: check urls, or give user and password"
	}
	return "the server wants to know who we are: give user and password, token, creds_file or nkey_file"
}

// whyCertificate is about the server's certificate.
func (c *Config) whyCertificate(err error, _ string) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host):
		names := append([]string{}, host.Certificate.DNSNames...)
		for _, ip := range host.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
		return fmt.Sprintf("the server's certificate is for %s and not for %s: use one of these names in urls, or set tls: {server_name: …}", strings.Join(names, ", "), host.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		day := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
		return fmt.Sprintf("the server's certificate is valid from %s to %s, and not now: have it renewed, or set this machine's clock", day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter))
	case errors.As(err, &unknown) && c.TLS != nil && c.TLS.CAFile != "":
		return "the server's certificate is signed by none of the authorities in ca_file: give the file of the one that signed it"
	case errors.As(err, &unknown):
		return "the server's certificate is signed by an authority that this machine does not know: give its certificate as tls: {ca_file: …}"
	case errors.As(err, &invalid):
		return fmt.Sprintf("the server's certificate cannot be accepted: %v", invalid)
	}
	return ""
}

// whyAlert is about our certificate: the server says so in a TLS alert.
func (c *Config) whyAlert(_ error, text string) string {
	_, alert, ok := strings.Cut(text, "remote error: tls: ")
	if !ok {
		return ""
	}
	switch {
	case c.TLS == nil || c.TLS.CertFile == "":
		return fmt.Sprintf("the server wants a client's certificate (%s): give tls: {cert_file: …, key_file: …}", alert)
	case strings.Contains(alert, "expired"):
		return "the server says that the client's certificate expired: have it renewed"
	case strings.Contains(alert, "authority"), strings.Contains(alert, "bad certificate"), strings.Contains(alert, "unknown certificate"):
		return fmt.Sprintf("the server does not accept the client's certificate (%s): have it signed by an authority that the server trusts", alert)
	}
	return fmt.Sprintf("the server ends the TLS handshake (%s): compare its tls block with tls here", alert)
}

// passing says that an error comes from a server or cluster that is just starting or choosing a leader.
func passing(err error) bool {
	for _, e := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled,
		nats.ErrNoStreamResponse, nats.ErrJetStreamNotEnabled, nats.ErrDisconnected, nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting, errReborn, errUnanswered,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return passingCodes[api.ErrorCode]
	}
	var watch *nats.APIError // What watches of buckets say.
	return errors.As(err, &watch) && passingCodes[jetstream.ErrorCode(watch.ErrorCode)]
}

// unreachable says that an attempt to connect came upon nobody, or upon a server that starts, stops or takes no more: it is
// worth another. What a server refused, or what does not speak as expected, stays so until somebody changes it.
func unreachable(err error) bool {
	for _, e := range []error{
		syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, os.ErrDeadlineExceeded,
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoServers, nats.ErrMaxConnectionsExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.As(err, new(*net.DNSError)) || isTimeout(err) || hungUp(err) || strings.Contains(strings.ToLower(err.Error()), "connections exceeded")
}

// passingCodes: 10005 no peer with room, 10008 temporarily unavailable, 10009 cannot handle the request, 10023
// insufficient resources, 10118 and 10194 the stream is offline, 10119 and 10195 the consumer is offline.
var passingCodes = map[jetstream.ErrorCode]bool{10005: true, 10008: true, 10009: true, 10023: true, 10118: true, 10119: true, 10194: true, 10195: true}

// put adds to what JetStream says what it means here.
func (d *Driver) put(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode {
	case 10005:
		return fmt.Errorf("%w: the cluster has not enough servers with JetStream and room for %d replicas: start the missing ones, or set replicas lower", err, d.config.Replicas)
	case 10074:
		return fmt.Errorf("%w: the server stands alone and cannot keep %d replicas: set replicas: 1, or use the urls of a cluster", err, d.config.Replicas)
	case 10008, 10009:
		return fmt.Errorf("%w: the cluster has no leader now: more than half of its servers must run and reach one another", err)
	case 10023, 10028, 10047, 10002:
		return fmt.Errorf("%w: raise the limits of JetStream (max_file_store, or the account's), or remove what is no longer needed", err)
	case 10027:
		return fmt.Errorf("%w: allow the account more streams", err)
	case 10113, 10122:
		return fmt.Errorf("%w: the account limits the size of a stream: raise it, or make the topic smaller", err)
	}
	return err
}
