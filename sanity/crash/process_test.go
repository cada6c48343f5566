package crash_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// patience is how long anything may take that has to happen in the end. It is far more than it takes.
const patience = time.Minute

// clients are the services of the driver.
type clients struct {
	csi.ControllerClient
	csi.GroupControllerClient
	csi.NodeClient
}

// process is the driver.
type process struct {
	command *exec.Cmd
	says    *os.File
	conn    *grpc.ClientConn // nil until it is ready
	over    bool             // it has ended, and its number may be somebody else's
	clients
}

// start starts the driver over the pools in dir, as the leader of a process group. It writes to log.
func start(dir string, where place, log *os.File) (*process, error) {
	p := &process{command: exec.Command("/proc/self/exe")}
	// A process with the race detector sleeps for a second before it ends, each freeze watchdog too.
	p.command.Env = append(os.Environ(), serverVariable+"="+dir, placeVariable+"="+placeName(where), "GORACE=atexit_sleep_ms=0")
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.command.Stderr = log
	if _, err := p.command.StdinPipe(); err != nil {
		return nil, err
	}
	says, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.says = says.(*os.File)
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// ready waits until the driver serves, and connects.
func (p *process) ready(dir string) error {
	if err := p.says.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	line, err := bufio.NewReader(p.says).ReadString('\n')
	if err != nil || line != "ready\n" {
		return fmt.Errorf("the driver did not come up: it said %q (%w)", line, errors.Join(err, p.killed(false)))
	}
	p.conn, err = grpc.NewClient("unix://"+socketPath(dir), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	p.clients = clients{csi.NewControllerClient(p.conn), csi.NewGroupControllerClient(p.conn), csi.NewNodeClient(p.conn)}
	return nil
}

// kill sends SIGKILL to the driver, or to it and every command that it runs.
func (p *process) kill(group bool) error {
	if p.over {
		return os.ErrProcessDone
	}
	id := p.command.Process.Pid
	if group {
		id = -id
	}
	return syscall.Kill(id, syscall.SIGKILL)
}

// wait waits until the driver has ended, and returns how.
func (p *process) wait() error {
	err := p.command.Wait()
	p.over = true
	return err
}

// killed kills the driver and waits until it is gone. That it had ended on its own before is an error.
func (p *process) killed(group bool) error {
	if err := p.kill(group); err != nil {
		return err
	}
	err := p.wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return nil
	}
	return fmt.Errorf("the driver had ended before it was killed: %w", err)
}

// stop ends the driver as an administrator does.
func (p *process) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.AfterFunc(patience, func() { _ = p.command.Process.Kill() })
	defer timer.Stop()
	_ = p.conn.Close()
	return p.wait()
}

// descendants returns the processes that a driver over dir started, or is, and that are alive.
func descendants(dir string) (ids []int, err error) {
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains("\x00"+string(text), "\x00"+serverVariable+"="+dir+"\x00") {
			continue // it ended, or is somebody else's
		}
		id, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// until waits for a condition, which an error says is not met.
func until(met func() error) error {
	for deadline := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		err := met()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// tail returns the end of what the driver logged.
func tail(log *os.File) string {
	const length = 6 << 10
	info, err := log.Stat()
	if err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(io.NewSectionReader(log, max(0, info.Size()-length), length))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
