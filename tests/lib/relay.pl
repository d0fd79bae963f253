#!/usr/bin/perl
# relay LISTEN TARGET: passes connections of one Unix socket on to another. An engine behind it goes away when
# it is ended, while its containers live on.
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;

my ($listen, $target) = @ARGV;
unlink $listen;
my $listener = IO::Socket::UNIX->new(Local => $listen, Listen => 64) or die "cannot listen on $listen: $!";
my $select = IO::Select->new($listener);
my %other;
$SIG{PIPE} = 'IGNORE';

sub drop {
	for my $socket (@_) {
		next unless $socket;
		$select->remove($socket);
		delete $other{$socket};
		close $socket;
	}
}

while (1) {
	for my $socket ($select->can_read) {
		if ($socket == $listener) {
			my $in = $listener->accept or next;
			my $out = IO::Socket::UNIX->new(Peer => $target);
			unless ($out) {
				close $in;
				next;
			}
			@other{$in, $out} = ($out, $in);
			$select->add($in, $out);
			next;
		}
		my $to = $other{$socket} or next;
		my $n = sysread $socket, my $data, 65536;
		unless ($n) {
			drop($socket, $to);
			next;
		}
		while (length $data) {
			my $sent = syswrite $to, $data;
			unless (defined $sent) {
				drop($socket, $to);
				last;
			}
			substr $data, 0, $sent, '';
		}
	}
}
