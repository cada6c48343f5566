// Command sshd runs what it is told by anybody who connects. The disruptive specs of Kubernetes reach the nodes
// over SSH, and the nodes of a test cluster are in a network of their own, which nobody else can reach.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"

	"golang.org/x/crypto/ssh"
)

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "sshd:", err)
		os.Exit(1)
	}
}

func serve(address string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return &ssh.Permissions{}, nil }}
	config.AddHostKey(key)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		raw, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			conn, channels, requests, err := ssh.NewServerConn(raw, config)
			if err != nil {
				return
			}
			defer conn.Close()
			go ssh.DiscardRequests(requests)
			for offered := range channels {
				if offered.ChannelType() != "session" {
					_ = offered.Reject(ssh.UnknownChannelType, "only sessions")
					continue
				}
				if channel, requests, err := offered.Accept(); err == nil {
					go session(channel, requests)
				}
			}
		}()
	}
}

// session runs the one command of a session.
func session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(false, nil)
			continue
		}
		var command struct{ Line string }
		if ssh.Unmarshal(r.Payload, &command) != nil {
			_ = r.Reply(false, nil)
			return
		}
		_ = r.Reply(true, nil)
		c := exec.Command("sh", "-c", command.Line)
		c.Stdout, c.Stderr = channel, channel.Stderr()
		var failed *exec.ExitError
		var code uint32
		switch err := c.Run(); {
		case errors.As(err, &failed):
			code = uint32(failed.ExitCode())
		case err != nil:
			code = 255
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
		return
	}
}
