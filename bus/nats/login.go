package nats

import (
	"crypto/tls"
	"fmt"
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
		options = append(options, nats.UserCredentials(c.At.Path(c.CredsFile)))
	case c.NkeyFile != "":
		o, err := nats.NkeyOptionFromSeed(c.At.Path(c.NkeyFile))
		if err != nil {
			return nil, fmt.Errorf("read nkey_file %s: %w", c.At.Path(c.NkeyFile), err)
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
		cert = c.TLS.Certificate
	}
	if c.TLS.CAFile != "" {
		roots = c.TLS.Authorities
	}
	if cert != nil || roots != nil {
		options = append(options, nats.ClientTLSConfig(cert, roots))
	}
	if c.TLS.HandshakeFirst {
		options = append(options, nats.TLSHandshakeFirst())
	}
	return options, nil
}

// judgeCreds says what is wrong with a credentials file. It shows nothing of its content.
func (c *Config) judgeCreds() (what, do string) {
	const fresh = "make it with nsc generate creds, or ask who looks after the NATS server"
	path := c.At.Path(c.CredsFile)
	text, what, do := c.At.ReadFile(path)
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
func (c *Config) judgeSeed() (what, do string) {
	path := c.At.Path(c.NkeyFile)
	text, what, do := c.At.ReadFile(path)
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
