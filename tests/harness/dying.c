/* Preloaded: while there is a file at $DEAD_DISK, nothing can be synced (EIO), as on a disk that has died. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_by(long call, int fd) {
  const char *sign = getenv("DEAD_DISK");
  int before = errno;
  if (sign != NULL && access(sign, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  errno = before;
  return (int)syscall(call, fd);
}

int fsync(int fd) { return sync_by(SYS_fsync, fd); }

int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }
