package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
)

// advice is what the refusals of brokers mean for whoever runs Kemi.
var advice = map[kafkago.Error]string{
	kafkago.SASLAuthenticationFailed:           "the brokers refuse the user or the password: check sasl.user, sasl.password and sasl.mechanism",
	kafkago.UnsupportedSASLMechanism:           "the brokers do not have this mechanism: choose another sasl.mechanism",
	kafkago.IllegalSASLState:                   "the brokers want no login on this port: remove sasl, or name the port that has it",
	kafkago.TopicAuthorizationFailed:           "this user may not do that with the topic: allow Describe, DescribeConfigs, Read, Write and, for topics that are missing, Create on the topics with Kemi's prefix",
	kafkago.GroupAuthorizationFailed:           "this user may not use the group: allow Read and Describe on the groups with Kemi's prefix",
	kafkago.ClusterAuthorizationFailed:         "this user may not do that with the cluster: allow Describe, and Create for topics that are missing",
	kafkago.TransactionalIDAuthorizationFailed: "this user may not use transactions: allow Write and Describe on the transactional ids with Kemi's prefix",
	kafkago.PolicyViolation:                    "a policy of the brokers forbids it: make the topic by hand, or change the policy",
	kafkago.InvalidReplicationFactor:           "there are fewer brokers than replicas: set replicas to what the cluster has",
	kafkago.NotEnoughReplicas:                  "too few replicas are in sync: start the brokers that are missing",
	kafkago.NotEnoughReplicasAfterAppend:       "too few replicas are in sync: start the brokers that are missing",
}

// refused says that trying again does not help before somebody changes something.
func refused(err error) bool {
	var said kafkago.Error
	if errors.As(err, &said) {
		switch said {
		case kafkago.SASLAuthenticationFailed, kafkago.UnsupportedSASLMechanism, kafkago.IllegalSASLState,
			kafkago.TopicAuthorizationFailed, kafkago.GroupAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
			kafkago.TransactionalIDAuthorizationFailed, kafkago.PolicyViolation, kafkago.InvalidReplicationFactor:
			return true
		}
		return false
	}
	return certificate(err) != ""
}

// certificate says what is wrong with a certificate, the brokers' or ours; "" when nothing is.
func certificate(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		alert   *net.OpError
		header  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &unknown):
		return "the certificate of the broker is signed by nobody that is trusted: name the authority in tls.ca_file"
	case errors.As(err, &name):
		return "the certificate of the broker is for another host: use the name that is in it, or set tls.server_name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate of the broker has expired, or a clock is wrong: renew it"
	case errors.As(err, &invalid):
		return "the certificate of the broker is not good for a server: renew it"
	case errors.As(err, &alert) && alert.Op == "remote error": // What crypto/tls says of the alert of the other side.
		return "the broker refuses this client's certificate: set tls.cert_file and tls.key_file to one that it trusts, or check them"
	case errors.As(err, &header):
		return "the broker speaks no TLS on this port: remove tls, or name the port that has it"
	}
	return ""
}

// away marks an error that may pass, and that no broker has said: nobody is there, or nobody answers.
func away(err error) error {
	var said kafkago.Error
	if !passing(err) || errors.As(err, &said) && said != kafkago.BrokerNotAvailable { // It is what the transport says of one that is gone.
		return err
	}
	return fmt.Errorf("%w: %w", driver.ErrAway, err)
}

// explain says in words what to do about an error, where that is known.
func explain(err error) error {
	if err == nil {
		return nil
	}
	var had explained
	if errors.As(err, &had) {
		return err
	}
	var said kafkago.Error
	if errors.As(err, &said) {
		if what := advice[said]; what != "" {
			return explained{err, what}
		}
		return err
	}
	if what := certificate(err); what != "" {
		return explained{err, what}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return explained{err, "the broker closed the connection: when it always does, it refuses the user or the password, or wants tls or sasl on this port, or none of them"}
	}
	return err
}

// explained is an error with what to do about it.
type explained struct {
	err  error
	what string
}

func (e explained) Error() string { return fmt.Sprintf("%s (%v)", e.what, e.err) }
func (e explained) Unwrap() error { return e.err }

// Advice implements driver.Advised.
func (e explained) Advice() string { return e.what }

// kind turns what a broker says about records into the driver's words.
func kind(err error) error {
	var said kafkago.Error
	if !errors.As(err, &said) || errors.Is(err, driver.ErrNoTopic) {
		return err
	}
	switch said {
	case kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge:
		return fmt.Errorf("%w: %w", driver.ErrTooLarge, err)
	case kafkago.UnknownTopicOrPartition:
		return fmt.Errorf("%w: %w", driver.ErrNoTopic, err)
	case kafkago.KafkaStorageError:
		return fmt.Errorf("%w: %w", driver.ErrFull, err)
	}
	return err
}
