# SPDX-License-Identifier: Apache-2.0
"""The command, where one of five shares hangs: it ends in time and says so."""

import hashlib
import time
from concurrent import futures

import pytest

PROBE_TIMEOUT_S = 15.0

# For all that is not waiting; less than the second deadline that nobody may be made to wait for.
START_S = 14.9


@pytest.fixture
def shares(tmp_path, mounter, fuse_share):
    """Five exports, mounted where Nova mounts them, the last one on FUSE; each holds volume-1."""
    base = tmp_path / 'mnt'
    places = []
    for number in range(5):
        export = f'nas1:/export/{number}'
        place = base / hashlib.md5(export.encode()).hexdigest()
        if number < 4:
            mounter.tmpfs(export, place)
            with open(place / 'volume-1', 'wb') as volume:
                volume.truncate(1 << 20)
        else:
            share = fuse_share(export, place)
        places.append(place)
    return base, places, share


@pytest.fixture
def operate(tmp_path, novalink, shares, run):
    config = tmp_path / 'powervm-fileio.conf'
    config.write_text(f'[powervm_fileio]\nmount_point_base = {shares[0]}\n'
                      f'probe_timeout_s = {PROBE_TIMEOUT_S}\n')

    def operate(*args, code=0):
        start = time.monotonic()
        done = run(*args, '-f', 'json', '--config-file', config, '--simulator', novalink.url)
        took_s = time.monotonic() - start
        assert done.code == code, done
        return done.json, took_s
    return operate


def test_a_hung_share_is_said_to_hang_within_one_deadline(operate, shares):
    _, places, share = shares
    for place in places:
        operate('attach', place / 'volume-1', '--lpar', 'lpar1')
    hung = places[4] / 'volume-1'
    healthy = sorted(str(place / 'volume-1') for place in places[:4])
    share.tell('hang')

    # One deadline each, at the same time.
    with futures.ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(operate, *args, code=code) for args, code in [
            (['list'], 0), (['audit'], 12), (['check'], 12),
            (['check', hung, '--lpar', 'lpar1'], 12), (['show', hung], 0)]]
        (disks, findings, host, volume, shown), seconds = zip(
            *(answer.result() for answer in answers), strict=True)
    assert max(seconds) < PROBE_TIMEOUT_S + START_S

    assert {disk['path']: (disk['file_state'], disk['mount_state']) for disk in disks} == {
        **dict.fromkeys(healthy, ('present', 'healthy')), str(hung): ('unknown', 'hung')}
    assert [finding['path'] for finding in findings if finding['finding'] == 'mount hung'] == [
        str(hung)]
    # They are on one bus, and Linux's SCSI target makes them wait for each other.
    assert sorted(finding['path'] for finding in findings
                  if finding['finding'] == 'delayed') == healthy
    verdicts = sorted((row['verdict'], row['detail']) for row in host if row['check'] == 'share')
    assert [verdict for verdict, _ in verdicts] == ['FAILED', 'ok', 'ok', 'ok', 'ok']
    assert f'{places[4]} is hung' in verdicts[0][1]
    assert 'did not answer' in {row['check']: row['detail'] for row in volume}['share']
    assert shown['mount_state'] == 'hung'

    detached, _ = operate('detach', hung, '--lpar', 'lpar1')
    assert detached['result'] == 'detached'


def test_several_hung_shares_cost_one_deadline(operate, shares, tmp_path, fuse_share):
    base, _, share = shares
    others = [fuse_share(f'nas2:/export/{number}', base / f'{number:032x}')
              for number in range(3)]
    for one in (share, *others):
        operate('attach', one.place / 'volume-1', '--lpar', 'lpar1')
    for one in (share, *others):
        one.tell('hang')
    disks, took_s = operate('list')
    assert [disk['mount_state'] for disk in disks] == ['hung'] * 4
    assert took_s < PROBE_TIMEOUT_S + START_S


def test_a_file_that_two_lpars_have_by_two_paths_is_found(operate, shares, mounter, tmp_path):
    _, places, _ = shares
    mounter.bind(places[0], tmp_path / 'bound')
    operate('attach', places[0] / 'volume-1', '--lpar', 'lpar1')
    operate('attach', tmp_path / 'bound/volume-1', '--lpar', 'lpar2', '--multiattach')
    findings, _ = operate('audit', code=12)
    assert {finding['finding'] for finding in findings} == {'shared file'}


def test_a_stale_share_is_said_to_be_stale(operate, shares):
    _, places, share = shares
    operate('attach', places[4] / 'volume-1', '--lpar', 'lpar1')
    share.tell('stale')
    [finding], _ = operate('audit', code=12)
    assert finding['finding'] == 'mount stale'
    share.tell('answer')
    findings, _ = operate('audit')
    assert findings == []


def test_what_is_denied_to_the_command_is_asked_through_the_root_helper(operate, shares):
    _, places, share = shares
    path = places[4] / 'volume-1'
    operate('attach', path, '--lpar', 'lpar1')
    share.tell('only-once')
    [disk], _ = operate('list')
    shown, _ = operate('show', path)
    for seen in (disk, shown):
        assert (seen['file_state'], seen['mount_state']) == ('present', 'healthy')
    assert (shown['file_bytes'], shown['error']) == (1 << 20, None)
    findings, _ = operate('audit')
    assert findings == []
    rows, _ = operate('check', path, '--lpar', 'lpar1')
    assert {row['verdict'] for row in rows} == {'ok'}
    share.tell('deny')
    shown, _ = operate('show', path)
    assert 'Permission denied, also through the root helper' in shown['error']
