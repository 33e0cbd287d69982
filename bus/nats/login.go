package nats

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// login are the options that say who we are, and whom we trust.
func (c *Config) login() ([]nats.Option, error) {
	var options []nats.Option
	switch {
	case c.CredsFile != "":
		options = append(options, nats.UserCredentials(c.path(c.CredsFile)))
	case c.NkeyFile != "":
		o, err := nats.NkeyOptionFromSeed(c.path(c.NkeyFile))
		if err != nil {
			return nil, fmt.Errorf("read nkey_file %s: %w", c.path(c.NkeyFile), err)
		}
		options = append(options, o)
	case c.User != "":
		options = append(options, nats.UserInfoHandler(func() (string, string) { return c.User, c.Password.Reveal() }))
	case !c.Token.IsZero():
		options = append(options, nats.TokenHandler(c.Token.Reveal))
	}
	if c.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.TLS == nil {
		return options, nil
	}
	options = append(options, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}))
	var cert nats.TLSCertHandler
	var roots nats.RootCAsHandler
	if c.TLS.CertFile != "" {
		cert = c.certificate
	}
	if c.TLS.CAFile != "" {
		roots = c.authorities
	}
	if cert != nil || roots != nil {
		options = append(options, nats.ClientTLSConfig(cert, roots))
	}
	if c.TLS.HandshakeFirst {
		options = append(options, nats.TLSHandshakeFirst())
	}
	return options, nil
}

func (c *Config) certificate() (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.path(c.TLS.CertFile), c.path(c.TLS.KeyFile))
	if err != nil {
		return pair, fmt.Errorf("read the client certificate: %w", err)
	}
	return pair, nil
}

func (c *Config) authorities() (*x509.CertPool, error) { return authorities(c.path(c.TLS.CAFile)) }

var errNoCertificate = errors.New("it holds no certificate in PEM")

func authorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the authorities in %s: %w", path, errNoCertificate)
	}
	return pool, nil
}

// read reads a file that the configuration names, or says what is wrong with it.
func read(path string) (text []byte, what, do string) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, path + ": there is no such file", "check the path: it is relative to the configuration file"
	case errors.Is(err, fs.ErrPermission):
		return nil, path + ": the file may not be read", "give the user that runs kemi permission to read it"
	case err != nil:
		return nil, fmt.Sprintf("%s: the file cannot be read (%v)", path, errors.Unwrap(err)), "give the path of a readable file"
	}
	return text, "", ""
}

// judgeCreds says what is wrong with a credentials file. It shows nothing of its content.
func judgeCreds(path string) (what, do string) {
	const fresh = "make it with nsc generate creds, or ask who looks after the NATS server"
	text, what, do := read(path)
	if what != "" {
		return what, do
	}
	token, err := nkeys.ParseDecoratedJWT(text)
	if err != nil {
		return path + ": there is no NATS user JWT in the file", fresh
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return path + ": there is no NATS user JWT in the file", fresh
	}
	pair, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return path + ": there is no user seed in the file, which proves that the JWT is ours", fresh
	}
	defer pair.Wipe()
	if public, err := pair.PublicKey(); err != nil || public != claims.Subject {
		return path + ": the seed in the file belongs to another user than the JWT", fresh
	}
	if e := claims.Expires; e > 0 && time.Now().Unix() >= e {
		return fmt.Sprintf("%s: the credentials expired at %s", path, time.Unix(e, 0).UTC().Format(time.RFC3339)), fresh
	}
	return "", ""
}

// judgeSeed says what is wrong with an nkey's seed file.
func judgeSeed(path string) (what, do string) {
	text, what, do := read(path)
	if what != "" {
		return what, do
	}
	pair, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return path + ": there is no user seed in the file", "a user's seed begins with SU: make one with nk -gen user"
	}
	pair.Wipe()
	return "", ""
}

// judgeTLS complains about files of certificates.
func (c *Config) judgeTLS(complain func(field, what, do string)) {
	t := c.TLS
	if t.CAFile != "" {
		if _, what, do := read(c.path(t.CAFile)); what != "" {
			complain("tls.ca_file", what, do)
		} else if _, err := authorities(c.path(t.CAFile)); err != nil {
			complain("tls.ca_file", c.path(t.CAFile)+": "+errNoCertificate.Error(), "give the file with the certificate of the authority that signed the server's")
		}
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		return
	case t.CertFile == "":
		complain("tls.key_file", "a key without its certificate", "give cert_file too")
		return
	case t.KeyFile == "":
		complain("tls.cert_file", "a certificate without its key", "give key_file too")
		return
	}
	ok := true
	for _, f := range []struct{ field, path string }{{"tls.cert_file", t.CertFile}, {"tls.key_file", t.KeyFile}} {
		if _, what, do := read(c.path(f.path)); what != "" {
			complain(f.field, what, do)
			ok = false
		}
	}
	if !ok {
		return
	}
	pair, err := tls.LoadX509KeyPair(c.path(t.CertFile), c.path(t.KeyFile))
	if err != nil {
		complain("tls.cert_file", fmt.Sprintf("%s and %s are no certificate with its key (%v)", c.path(t.CertFile), c.path(t.KeyFile), err), "give both in PEM, the key without a passphrase")
		return
	}
	if leaf := pair.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		complain("tls.cert_file", fmt.Sprintf("%s: the certificate expired at %s", c.path(t.CertFile), leaf.NotAfter.UTC().Format(time.RFC3339)), "have it renewed")
	}
}
